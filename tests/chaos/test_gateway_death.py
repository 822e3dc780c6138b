"""A gateway takes its clients' connections with it, but not what they had asked for: an equal build finds the step still running."""

import subprocess
import time
from pathlib import Path

import pytest

from tests.chaos.conftest import Fleet
from tests.e2e.test_failures import wait_until
from tests.kit.clients import Buildctl
from tests.kit.parts.process import child

pytestmark = [pytest.mark.root, pytest.mark.slow]


def sleepers(mark: str) -> set[int]:
    """Processes `sleep MARK`."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cmdline").read_bytes().split(b"\0")[:2] == [b"sleep", mark.encode()]:
                found.add(int(process.name))
        except OSError:
            continue
    return found


def test_an_equal_build_joins_what_the_dead_gateway_had_begun(fleet: Fleet, busybox: str, tmp_path: Path) -> None:
    mark = f"9.{time.time_ns() % 10**7}"
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "Dockerfile").write_text(
        f"FROM {busybox} AS work\nRUN sleep {mark}; echo {mark} > /out\nFROM scratch\nCOPY --from=work /out /\n"
    )
    first = Buildctl(addr=f"unix://{fleet.stack.folder}/gateway-1.sock", work=tmp_path / "first")
    second = Buildctl(addr=fleet.stack.addr, work=tmp_path / "second")

    with (
        (tmp_path / "first.log").open("wb") as log,
        child(first.build_argv(folder), stdin=subprocess.DEVNULL, stdout=log, stderr=log) as lost,
    ):
        wait_until(lambda: bool(sleepers(mark)), 30)
        begun = sleepers(mark)
        fleet.kill("gateway-1")
        assert lost.wait(30) != 0
    with child(
        [*second.build_argv(folder), "--output", f"type=local,dest={tmp_path}/out"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as again:
        seen: set[int] = set()
        while again.poll() is None:
            seen |= sleepers(mark)
            time.sleep(0.2)
        assert again.wait(60) == 0
    fleet.ready()

    assert (tmp_path / "out/out").read_text() == f"{mark}\n"
    assert seen <= begun, "the step ran twice"
