"""What a RUN, COPY and ADD may do, seen from inside."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.agent import STEPS, agent_with_key, step_files
from tests.kit.clients import Buildctl, ClientFailed

pytestmark = [pytest.mark.root, pytest.mark.slow]

Make = Callable[..., Path]


def out(client: Buildctl, folder: Path, *options: str) -> Path:
    """Builds and gives the exported tree."""
    target = folder.parent / f"{folder.name}-out"
    client.build(folder, *options, "--output", f"type=local,dest={target}")
    return target


def gather(body: str, busybox: str) -> str:
    """A Dockerfile whose stage `work` writes to /out, which is the result."""
    return f"FROM {busybox} AS work\n{body}\nFROM scratch\nCOPY --from=work /out /\n"


def test_secret_is_seen_and_leaves_nothing(lone_buildctl: Buildctl, context: Make, busybox: str, tmp_path: Path) -> None:
    """As a file and in the environment, for that step only."""
    (tmp_path / "token").write_text("canary-of-the-test")
    body = (
        "RUN --mount=type=secret,id=token --mount=type=secret,id=token,env=TOKEN mkdir /out && "
        "md5sum < /run/secrets/token > /out/file && printf %s $TOKEN | md5sum > /out/env && stat -c %a /run/secrets/token > /out/mode\n"
        'RUN test ! -e /run/secrets/token && test -z "$TOKEN"'
    )
    tree = out(lone_buildctl, context(gather(body, busybox)), "--secret", f"id=token,src={tmp_path}/token")

    assert (tree / "file").read_text() == (tree / "env").read_text()
    assert (tree / "mode").read_text() == "400\n"


def test_optional_secret_may_be_missing(lone_buildctl: Buildctl, context: Make, busybox: str) -> None:
    tree = out(
        lone_buildctl, context(gather("RUN --mount=type=secret,id=none mkdir /out; ls /run/secrets > /out/list 2>&1 || true", busybox))
    )

    assert (tree / "list").exists()


def test_ssh_agent_works_in_the_step(lone_buildctl: Buildctl, context: Make, busybox: str, tmp_path: Path) -> None:
    """`ssh-add -l` in the step tells the key of the client's agent, and what the step has signed through it is that key's."""
    with agent_with_key(tmp_path / "agent") as agent:
        tree = out(lone_buildctl, context(gather(STEPS, busybox), step_files(agent, b"a word")), "--ssh", f"default={agent.socket}")

        assert agent.fingerprint in (tree / "keys").read_text()
        assert agent.signed(b"a word", tree / "word.sig")
        assert not agent.signed(b"another", tree / "word.sig")


def test_cache_mount_is_kept_between_builds(lone_buildctl: Buildctl, context: Make, busybox: str) -> None:
    """A cache mount counts on; its content is no part of the image."""
    body = "ARG N\nRUN --mount=type=cache,target=/cache,id=counter mkdir /out; echo $N >> /cache/list; cp /cache/list /out/"
    folder = context(gather(body, busybox))

    out(lone_buildctl, folder, "--opt", "build-arg:N=one")
    tree = out(lone_buildctl, folder, "--opt", "build-arg:N=two")

    assert (tree / "list").read_text().split() == ["one", "two"]


def test_bind_mount_is_read_only(lone_buildctl: Buildctl, context: Make, busybox: str) -> None:
    body = "RUN --mount=type=bind,target=/ctx mkdir /out; cp /ctx/a /out/; ! touch /ctx/new"

    assert (out(lone_buildctl, context(gather(body, busybox), {"a": "content"})) / "a").read_text() == "content"


def test_heredocs(lone_buildctl: Buildctl, context: Make, busybox: str) -> None:
    """In RUN as a script, in COPY as files."""
    body = "RUN <<EOF\nmkdir /out\necho from a script > /out/run\nEOF\nCOPY <<one <<'two' /out/\nfirst $HOME\none\nsecond $HOME\ntwo"
    tree = out(lone_buildctl, context(gather("ENV HOME=/somewhere\n" + body, busybox)))

    assert (tree / "run").read_text() == "from a script\n"
    assert (tree / "one").read_text() == "first /somewhere\n"
    assert (tree / "two").read_text() == "second $HOME\n"


def test_network_none(lone_buildctl: Buildctl, context: Make, busybox: str) -> None:
    """Only the loopback is there."""
    tree = out(lone_buildctl, context(gather("RUN --network=none mkdir /out; ls /sys/class/net > /out/net", busybox)))

    assert (tree / "net").read_text().split() == ["lo"]


def test_host_network_needs_a_grant(lone_buildctl: Buildctl, context: Make, busybox: str) -> None:
    """Without --allow it is refused, with it the step is in the host's network namespace."""
    folder = context(gather("RUN --network=host mkdir /out; readlink /proc/self/ns/net > /out/namespace", busybox))
    with pytest.raises(ClientFailed, match=r"network\.host"):
        out(lone_buildctl, folder)
    tree = out(lone_buildctl, folder, "--allow", "network.host")

    assert (tree / "namespace").read_text().strip() == str(Path("/proc/self/ns/net").readlink())


def test_copy_rules(lone_buildctl: Buildctl, context: Make, busybox: str) -> None:
    """Wildcards, owners, modes, links, .dockerignore, archives."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        member = tarfile.TarInfo("inside/file")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"tar\n"))
    body = (
        "COPY --chown=12:34 --chmod=0640 a.txt /out/owned\nCOPY *.txt /out/texts/\nCOPY dir /out/dir\nADD files.tar.gz /out/added/\n"
        "COPY files.tar.gz /out/\nWORKDIR /out/work/dir\nCOPY a.txt .\nRUN stat -c '%u:%g %a' /out/owned > /out/stat"
    )
    files = {
        "a.txt": "a",
        "b.txt": "b",
        "dir/kept": "k",
        "dir/left.log": "l",
        "files.tar.gz": packed.getvalue(),
        ".dockerignore": "**/*.log\n",
    }
    tree = out(lone_buildctl, context(gather(body, busybox), files))

    assert (tree / "stat").read_text() == "12:34 640\n"
    assert sorted(path.name for path in (tree / "texts").iterdir()) == ["a.txt", "b.txt"]
    assert sorted(path.name for path in (tree / "dir").iterdir()) == ["kept"]
    assert (tree / "added/inside/file").read_text() == "tar\n"
    assert (tree / "files.tar.gz").exists()
    assert (tree / "work/dir/a.txt").exists()


def test_arguments_and_environment(lone_buildctl: Buildctl, context: Make, busybox: str) -> None:
    """Scopes of ARG, ENV over ARG, the platform arguments, SHELL, USER."""
    body = (
        "ARG GIVEN=default\nARG TARGETARCH\nENV KEPT=$GIVEN\nRUN mkdir -m 777 /out; echo $GIVEN $KEPT $TARGETARCH > /out/args\n"
        'SHELL ["/bin/sh", "-ec"]\nRUN echo $0 > /out/shell; env | grep -c SECRET > /out/count || true\n'
        "USER nobody\nRUN id -u > /out/user"
    )
    tree = out(lone_buildctl, context(gather(body, busybox)), "--opt", "build-arg:GIVEN=value")

    assert (tree / "args").read_text() == "value value amd64\n"
    assert (tree / "user").read_text() == "65534\n"


def test_sandbox_defaults(lone_buildctl: Buildctl, context: Make, busybox: str) -> None:
    """Host name, resolv.conf, devices, masked paths, capabilities as BuildKit has them."""
    body = (
        "RUN mkdir /out; hostname > /out/hostname; ls /dev > /out/dev; cat /proc/self/status > /out/status; "
        "test -s /etc/resolv.conf && cat /etc/hosts > /out/hosts; "
        "head -c 1 /proc/kcore | wc -c > /out/kcore; pwd > /out/pwd"
    )
    tree = out(lone_buildctl, context(gather(body, busybox)))

    assert (tree / "hostname").read_text() == "buildkitsandbox\n"
    assert {"null", "zero", "full", "random", "urandom", "tty", "shm", "pts", "fd"} <= set((tree / "dev").read_text().split())
    assert "CapEff:\t00000000a80425fb" in (tree / "status").read_text()
    assert "Seccomp:\t2" in (tree / "status").read_text()
    assert "localhost" in (tree / "hosts").read_text()
    assert (tree / "kcore").read_text().strip() == "0"
    assert (tree / "pwd").read_text() == "/\n"
