"""What is cached, what runs, and how often."""

import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.e2e.conftest import Mesh
from tests.e2e.ways import WAYS
from tests.kit.clients import Buildctl, Built
from tests.kit.parts.process import child

pytestmark = [pytest.mark.root, pytest.mark.slow]

Make = Callable[..., Path]


def test_run_and_copy_are_cached(buildctl: Buildctl, context: Make, busybox: str) -> None:
    """The second build runs nothing; a changed file runs what comes after it."""
    dockerfile = f"FROM {busybox}\nRUN echo first > /first\nCOPY a /a\nRUN cat /a > /b\nFROM {busybox}\nCOPY other /\nCOPY --from=0 /b /\n"
    folder = context(dockerfile, {"a": "1", "other": "same"})

    first = buildctl.build(folder)
    second = buildctl.build(folder)
    (folder / "a").write_text("2")
    third = buildctl.build(folder)

    assert len(first.ran()) == 5
    assert second.ran() == []
    assert sorted(step(name) for name in third.ran()) == ["COPY --from=0 /b /", "COPY a /a", "RUN cat /a > /b"]


def step(name: str) -> str:
    return name.partition("] ")[2]


def test_no_cache_runs_all(buildctl: Buildctl, context: Make, busybox: str) -> None:
    """--no-cache asks the cache nothing."""
    folder = context(f"FROM {busybox}\nRUN echo no-cache > /x\n")
    buildctl.build(folder)

    assert len(buildctl.build(folder, "--no-cache").ran()) == 1


def test_content_decides(buildctl: Buildctl, context: Make, busybox: str) -> None:
    """A step whose output is the same as before does not make the next one run."""
    folder = context(
        f"FROM {busybox} AS a\nARG N\nRUN echo $N > /noise; echo same > /out\nFROM {busybox}\nCOPY --from=a /out /\nRUN cat /out\n"
    )
    buildctl.build(folder, "--opt", "build-arg:N=1")

    again = buildctl.build(folder, "--opt", "build-arg:N=2")

    assert [step(name) for name in again.ran()] == ["RUN echo $N > /noise; echo same > /out"] or "RUN cat /out" not in str(again.ran())


def test_thirty_steps_at_once(buildctl: Buildctl, context: Make, busybox: str) -> None:
    """Steps that know nothing of each other overlap: 30 sleeps of a second take far less than 30."""
    stages = "".join(f"FROM {busybox} AS s{i}\nRUN sleep 1; date +%s > /t{i}\n" for i in range(30))
    gather = "FROM scratch\n" + "".join(f"COPY --from=s{i} /t{i} /\n" for i in range(30))
    folder = context(stages + gather)

    built = buildctl.build(folder, "--output", f"type=local,dest={folder.parent}/out")
    ends = [int((folder.parent / f"out/t{i}").read_text()) for i in range(30)]

    assert len(built.ran()) == 60
    assert max(ends) - min(ends) <= 20


def test_two_clients_share_one_run(mesh: Mesh, buildctl: Buildctl, context: Make, busybox: str) -> None:
    """Two equal builds at once: each step ran once, for both."""
    lines = "".join(f"RUN sleep 0.3; head -c 16 /dev/urandom | md5sum > /r{i}\n" for i in range(3))
    folder = context(f"FROM {busybox} AS work\n{lines}FROM scratch\nCOPY --from=work /r0 /r1 /r2 /\n")
    outs = [folder.parent / f"out{number}" for number in range(2)]
    argvs = [[*buildctl.build_argv(folder), "--output", f"type=local,dest={out}"] for out in outs]

    silent = subprocess.DEVNULL
    with ExitStack() as both:
        clients = [both.enter_context(child(argv, stdin=silent, stdout=silent, stderr=silent)) for argv in argvs]
        codes = [client.wait(60) for client in clients]

    assert codes == [0, 0]
    for name in ("r0", "r1", "r2"):
        assert (outs[0] / name).read_text() == (outs[1] / name).read_text()


@pytest.mark.parametrize("way", ["buildmeshd", "stack"])
def test_cached_after_restart(way: str, context: Make, busybox: str, tmp_path: Path) -> None:
    """Stopped and started again on the same folder, everything is still cached."""
    folder = context(f"FROM {busybox}\nRUN echo kept > /kept\nCOPY a /\n", {"a": "a"})

    def build() -> Built:
        with WAYS[way](tmp_path / "way") as addr:
            return Buildctl(addr=addr, work=tmp_path / "client").build(folder)

    assert len(build().ran()) == 2
    assert build().ran() == []
