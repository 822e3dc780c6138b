"""Our client, as a user runs it, against the real buildkitd and against ours: both must please it in the same way."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.kit.agent import STEPS, agent_with_key, step_files
from tests.kit.oci_layout import Layout, Tree
from tests.kit.parts.buildkitd import Daemon, daemon, our_buildmeshd, real_buildkitd
from tests.kit.parts.process import child

pytestmark = [pytest.mark.root, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKERFILE = """\
FROM scratch AS build
COPY --from=base / /
ARG GREETING=none
WORKDIR /src
COPY . .
RUN --mount=type=secret,id=word cat /run/secrets/word > /dev/null && echo "$GREETING" > out && ls -A >> out && cat ü* >> out
FROM scratch
COPY --from=build /src/out /
"""


@pytest.fixture(scope="module", params=["buildkitd", "buildmeshd"])
def builder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    argv = real_buildkitd() if request.param == "buildkitd" else our_buildmeshd()
    with daemon(tmp_path_factory.mktemp(request.param), argv, flags=["--oci-worker-net=host"]) as running:
        yield running


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """A folder to build, and beside it one named `base` with a static busybox."""
    folder, base = tmp_path / "context", tmp_path / "base" / "bin"
    folder.mkdir()
    base.mkdir(parents=True)
    shutil.copy("/bin/busybox", base)
    for name in ("sh", "cat", "ls", "sleep"):
        (base / name).symlink_to("busybox")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / ".dockerignore").write_text("*.log\n!keep.log\n")
    for name in ("file", "noise.log", "keep.log", "ünïcode"):
        (folder / name).write_text(name)
    return folder


def command(builder: Daemon, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "client.cli.main", arguments[0], "--addr", builder.addr, *arguments[1:]]


def run(builder: Daemon, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(builder, *arguments),
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), **environ},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def build(builder: Daemon, context: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    base = context.parent / "base"
    options = ("--progress", "plain", "--build-context", f"base={base}", "--secret", "id=word,env=WORD", *arguments)
    return run(builder, "build", *options, str(context), WORD="the-secret", **environ)


def test_local_export(builder: Daemon, context: Path, tmp_path: Path) -> None:
    """Context, .dockerignore, build argument, named context and secret go up, a folder comes down."""
    done = build(builder, context, "--build-arg", "GREETING=hi", "-o", f"{tmp_path}/out")

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "out").read_text().split() == [
        "hi",
        ".dockerignore",
        "Dockerfile",
        "file",
        "keep.log",
        "out",
        "??n??code",
        "ünïcode",
    ]
    assert "the-secret" not in done.stderr


def test_archives_and_metadata(builder: Daemon, context: Path, tmp_path: Path) -> None:
    """An OCI archive in a file, a tar on standard output, the digest in the metadata file, and the second build from cache."""
    first = build(builder, context, "-o", f"type=oci,dest={tmp_path}/o.tar", "--metadata-file", f"{tmp_path}/m.json")
    assert first.returncode == 0, first.stderr
    digest = json.loads((tmp_path / "m.json").read_text())["containerimage.digest"]
    with tarfile.open(tmp_path / "o.tar") as archive:
        assert f"blobs/sha256/{digest.removeprefix('sha256:')}" in archive.getnames()

    second = subprocess.run(
        command(
            builder, "build", "--build-context", f"base={context.parent}/base", "--secret", "id=word,env=WORD", "-o", "-", str(context)
        ),
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "WORD": "x"},
        capture_output=True,
        timeout=120,
        check=True,
    )
    (tmp_path / "t.tar").write_bytes(second.stdout)
    with tarfile.open(tmp_path / "t.tar") as archive:
        assert [name.removeprefix("./") for name in archive.getnames()] == ["out"]
    assert b"CACHED" in second.stderr


def test_base_image_from_a_folder(builder: Daemon, context: Path, tmp_path: Path) -> None:
    """`FROM` an OCI layout of the client, by its tag: a machine without a registry builds from images it has."""
    layout = Layout(tmp_path / "layout")
    layer = Tree().folder("etc/").file("etc/motd", "from the layout").done()
    layout.tag(layout.image([layer], {"Env": ["A=b"]}), "v1")
    (context / "Dockerfile").write_text("FROM example/distro:12\nCOPY file /etc/\n")
    option = f"example/distro:12=oci-layout://{layout.folder}:v1"

    done = build(builder, context, "--build-context", option, "-o", f"{tmp_path}/out")

    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (tmp_path / "out/etc").iterdir()) == ["file", "motd"]
    assert (tmp_path / "out/etc/motd").read_text() == "from the layout"


def test_failing_step(builder: Daemon, context: Path) -> None:
    """Exit status, the step's output, the line of the Dockerfile."""
    with (context / "Dockerfile").open("a") as file:
        file.write("FROM build\nRUN echo broken-here >&2; exit 3\n")

    done = build(builder, context)

    assert done.returncode == 1
    assert "broken-here" in done.stderr
    assert ">>> RUN echo broken-here" in done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("error: failed to solve: process ")
    assert done.stderr.strip().endswith("did not complete successfully: exit code: 3")


def test_interrupt_stops_the_step(builder: Daemon, context: Path) -> None:
    """Ctrl-C: the client leaves with 130 and the container is gone."""
    mark = f"4{os.getpid() % 100000:05d}"
    (context / "Dockerfile").write_text(f"FROM scratch\nCOPY --from=base / /\nRUN sleep {mark}\n")
    argv = command(builder, "build", "--progress", "plain", "--build-context", f"base={context.parent}/base", str(context))
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with child(argv, seconds=60, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if f"RUN sleep {mark}" in line:
                break
        asyncio.run(_until(lambda: bool(_running(mark))))
        process.send_signal(signal.SIGINT)
        process.stderr.read()
        assert process.wait(20) == 130
        asyncio.run(_until(lambda: not _running(mark)))


def _running(mark: str) -> list[str]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                argv = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if argv[:2] == [b"sleep", mark.encode()]:
                found.append(entry.name)
    return found


async def _until(condition: Callable[[], bool], seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - other processes tell nobody when they start or end
            await asyncio.sleep(0.05)


def test_ssh_agent_works_in_the_step(builder: Daemon, context: Path, tmp_path: Path) -> None:
    """`ssh-add -l` in the step tells the key of the client's agent, and what the step has signed through it is that key's."""
    with agent_with_key(tmp_path / "agent") as agent:
        for path, content in step_files(agent, b"a word").items():
            (context / path).parent.mkdir(parents=True, exist_ok=True)
            (context / path).write_bytes(content.encode() if isinstance(content, str) else content)
        (context / "root/etc").mkdir()
        (context / "root/etc/passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
        (context / "Dockerfile").write_text(f"FROM scratch AS b\nCOPY --from=base / /\n{STEPS}FROM scratch\nCOPY --from=b /out /\n")

        done = build(builder, context, "--ssh", f"default={agent.socket}", "-o", f"{tmp_path}/out")

        assert done.returncode == 0, done.stderr
        assert agent.fingerprint in (tmp_path / "out/keys").read_text()
        assert agent.signed(b"a word", tmp_path / "out/word.sig")


def test_other_verbs(builder: Daemon, context: Path) -> None:
    """du, history, workers, prune and doctor understand the daemon."""
    assert build(builder, context).returncode == 0
    assert "linux/" in run(builder, "workers").stdout
    assert "completed" in run(builder, "history").stdout
    before = run(builder, "du")
    assert len(before.stdout.splitlines()) > 3, before.stderr
    assert "Total:" in run(builder, "du", "-v").stdout
    ref = run(builder, "history").stdout.splitlines()[1].split()[0]
    assert "#1 " in run(builder, "history", "logs", ref).stdout
    assert run(builder, "history", "rm", ref).returncode == 0
    assert ref not in run(builder, "history").stdout
    pruned = run(builder, "prune", "--all")
    assert "Total:" in pruned.stdout, pruned.stderr
    assert "Reclaimable:\t0B" in run(builder, "du").stdout
    assert f"ok   daemon at {builder.addr}" in run(builder, "doctor").stdout


def test_sudden_end_of_the_daemons_session(builder: Daemon, context: Path) -> None:
    """A missing Dockerfile, secret and local folder: each a clear error and a daemon that goes on."""
    (context / "Dockerfile").write_text("FROM scratch\nCOPY nowhere /\n")
    missing = build(builder, context)
    assert missing.returncode == 1
    assert '"/nowhere": not found' in missing.stderr

    (context / "Dockerfile").write_text("FROM scratch\nCOPY --from=base / /\nRUN --mount=type=secret,id=gone,required=true true\n")
    secret = build(builder, context)
    assert "gone: not found" in secret.stderr

    (context / "Dockerfile").write_text("FROM scratch\nCOPY file /\n")
    assert build(builder, context).returncode == 0
