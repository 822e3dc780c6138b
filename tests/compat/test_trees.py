"""What steps see and what copies leave is what the real buildkitd shows and leaves: the same Dockerfile, compared file by file."""

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kit.clients import Buildctl
from tests.kit.parts.buildkitd import daemon, our_buildmeshd, real_buildkitd

pytestmark = [pytest.mark.root, pytest.mark.slow]

DOCKERFILE = r"""
FROM scratch AS base
COPY busybox /bin/busybox
RUN ["/bin/busybox","--install","-s","/bin"]
RUN mkdir /dir && echo 'root:x:0:0:root:/root:/bin/sh' > /etc/passwd && echo 'bob:x:7:8::/:/bin/sh' >> /etc/passwd
RUN echo 'staff:x:50:bob' > /etc/group

FROM base
COPY tree /t1
COPY tree/ /t2/
COPY --chown=bob:staff tree /t3
COPY --chown=5 --chmod=640 tree/a /t4
COPY --chmod=u+x,go-r tree /t5
COPY tree/*.md tree/a/* /t6/
COPY tree/link /t7
COPY tree/link /t8/
ADD t.tgz /t9
ADD --chown=9:9 t.tgz /t10/sub/
WORKDIR /w/x/y
COPY tree/a/f1 .
COPY tree/a/f1 renamed
USER bob
WORKDIR /home/bob
RUN id > /tmp.txt 2>/dev/null || true
USER 0
RUN mkdir -p /t1/new && rm /t2/x.md && ln -s /nowhere /dangling && mknod /node c 1 3 && mkfifo /fifo && chmod 1777 /dir
COPY --from=base /etc/passwd /etc/
COPY --exclude=*.md --exclude=c tree /t11
COPY --parents tree/a/b/f2 tree/c /t12/
COPY <<EOT /here.txt
hello
EOT
RUN <<EOT
echo heredoc > /hd
EOT
COPY --link tree/a /linked/
RUN --mount=type=bind,source=tree,target=/m cat /m/x.md > /from-mount
RUN --mount=type=bind,source=tree,target=/m,rw touch /m/zz && ls /m > /ls-mount
RUN --mount=type=tmpfs,target=/tt touch /tt/x
RUN --mount=type=cache,target=/cc,uid=3,mode=700 ls -lnd /cc | cut -c1-60 > /cache
RUN --network=none ip -o link | cut -c1-10 > /links
RUN --mount=type=tmpfs,target=/dev/shm,size=1000000 mount | grep shm > /shm
USER bob
RUN id > /home/bob/id || id > /home/bob/../../../../tmp/id || true
USER bob:staff
RUN mkdir /w2 2>&1 | head -1 || true
USER 7:9
RUN id || true
USER 0
RUN echo "$PATH" > /path; id > /id; umask > /umask; pwd > /pwd; env | sort > /env; ulimit -n -c -s > /ul; cat /etc/hosts > /hosts; \
    grep -E 'Cap|Seccomp:|NoNew|Groups|Uid|Gid' /proc/self/status > /st; cat /proc/sys/kernel/hostname > /hn; ls -ln /dev > /dev.ls; \
    mount | cut -d' ' -f3-6 > /mounts; cat /proc/1/oom_score_adj > /oom; ls -ln /proc/self/fd | wc -l > /fds
"""
OTEL = re.compile(rb"^.*(?:OTEL_|TRACEPARENT|otel-grpc).*\n", re.MULTILINE)
"""The real daemon gives each step a socket for its traces; ours does not have one."""
VARIES = re.compile(rb" +\d+ \w\w\w +\d+ \d\d:\d\d|\(rw,relatime,lowerdir.*|^total .*", re.MULTILINE)


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trees")
    tree = folder / "tree"
    for path, mode in (("a/f1", 0o644), ("a/b/f2", 0o4755), ("x.md", 0o600), ("c/d/e", 0o640)):
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(path)
        os.chmod(tree / path, mode)
    (tree / "link").symlink_to("a/f1")
    os.link(tree / "a/f1", tree / "c/hard")
    os.chmod(tree / "c", 0o751)
    subprocess.run(["tar", "czf", folder / "t.tgz", "a", "link", "c/hard"], cwd=tree, check=True, timeout=60)
    shutil.copy("/bin/busybox", folder)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    return folder


@pytest.fixture(scope="module")
def daemons(parts_folder: Path) -> Iterator[dict[str, str]]:
    config = '[worker.oci]\n  networkMode = "host"\n'
    with ExitStack() as stack:
        argv = {"real": real_buildkitd(), "ours": our_buildmeshd()}
        yield {name: stack.enter_context(daemon(parts_folder / f"trees-{name}", words, config=config)).addr for name, words in argv.items()}


def tree(addr: str, context: Path, work: Path) -> dict[str, tuple[object, ...]]:
    """Everything about each file of the result, but the times that steps gave."""
    to = work / "tree.tar"
    work.mkdir()
    Buildctl(addr=addr, work=work / "buildctl").build(context, "--output", f"type=tar,dest={to}")
    found: dict[str, tuple[object, ...]] = {}
    with tarfile.open(to) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isreg() else None
            data = VARIES.sub(b"", OTEL.sub(b"", file.read() if file is not None else b""))
            copied = int(member.mtime) if member.name.startswith("t") and not member.isdir() else 0
            found[member.name.strip("/")] = (
                member.type, oct(member.mode), member.uid, member.gid, member.linkname, member.devmajor, member.devminor, copied, data,
                {key: value for key, value in member.pax_headers.items() if "xattr" in key},
            )  # fmt: skip
    return found


def test_same_tree(daemons: dict[str, str], context: Path, tmp_path: Path) -> None:
    """Names, types, modes, owners, links, devices, times of copies, contents: also of what steps saw of their surroundings."""
    real, ours = (tree(daemons[name], context, tmp_path / name) for name in ("real", "ours"))

    assert sorted(real) == sorted(ours)
    other = [name for name in ours if ours[name] != real[name]]
    assert {name: ours[name] for name in other} == {name: real[name] for name in other}
