"""A machine with one slot: what waits says so in the client's progress, and goes before what its own identity finds less urgent."""

import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.test_failures import sleeping, wait_until
from tests.kit.clients import Buildctl
from tests.kit.parts.buildkitd import daemon, our_buildmeshd

pytestmark = [pytest.mark.root, pytest.mark.slow]

Make = Callable[..., Path]


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One step at a time."""
    with daemon(tmp_path_factory.mktemp("narrow"), our_buildmeshd(), config="[worker.oci]\nmax-parallelism = 1\n") as started:
        yield started.addr


def test_a_waiting_step_shows_its_position(narrow: str, context: Make, busybox: str, tmp_path: Path) -> None:
    client = Buildctl(addr=narrow, work=tmp_path / "buildctl")
    marks = [f"3.{time.time_ns() % 10**6}{i}" for i in range(4)]
    builds = []
    for i, mark in enumerate(marks):
        log = (tmp_path / f"{i}.log").open("wb")
        argv = client.build_argv(context(f"FROM {busybox}\nRUN sleep {mark}\n", name=f"context{i}"))
        builds.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log))
        if i == 0:
            wait_until(lambda: sleeping(marks[0]), 30)
    codes = [build.wait(60) for build in builds]

    said = [(tmp_path / f"{i}.log").read_text() for i in range(4)]
    assert codes == [0, 0, 0, 0], said
    waited = [text for text in said if "waiting for an executor: " in text]
    assert waited, said[3]
    assert any("ahead, linux/amd64, 1 of 1 slots busy" in text for text in waited)
    assert "waiting" not in said[0]


@pytest.mark.parametrize("priority", ["much", "11", "-11", "1.5"])
def test_a_priority_that_is_none_is_refused(narrow: str, context: Make, busybox: str, tmp_path: Path, priority: str) -> None:
    client = Buildctl(addr=narrow, work=tmp_path / "buildctl")

    with pytest.raises(Exception, match=f"invalid priority: '{priority}' is no number from -10 to 10"):
        client.build(context(f"FROM {busybox}\n"), "--opt", f"priority={priority}")
