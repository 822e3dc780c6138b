"""A gateway takes its clients' connections with it, but not what they had asked for: an equal build finds the step still running."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.conftest import IN_MAKE_CHAOS, PLUGINS, Fleet
from tests.e2e.test_failures import wait_until
from tests.kit import load, remains
from tests.kit.clients import Buildctl
from tests.kit.parts.process import child

pytestmark = [pytest.mark.root, pytest.mark.slow]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slow:
    """A build whose first step takes nine seconds, and holds everything that a step may hold."""

    mark: str
    folder: Path

    @contextmanager
    def by(self, client: Buildctl) -> Iterator["Asked"]:
        argv = client.build_argv(self.folder, "--output", f"type=local,dest={client.work}/out")
        log = client.work / "said"
        client.work.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as sink, child(argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink) as process:
            yield Asked(process, log, client.work / "out/out")

    def is_running(self) -> bool:
        """Whether its step sleeps just now, on any executor."""
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if (process / "cmdline").read_bytes().split(b"\0")[:2] == [b"sleep", self.mark.encode()]:
                    return True
            except OSError:
                continue
        return False


@dataclass(frozen=True, slots=True)
class Asked:
    """A client at work."""

    process: "subprocess.Popen[Any]"
    log: Path
    out: Path


@pytest.fixture
def slow(busybox: str, tmp_path: Path) -> Slow:
    mark = f"9.{time.time_ns() % 10**7}"
    folder = tmp_path / "context"
    folder.mkdir()
    step = f"RUN --mount=type=cache,target=/cache,id=gateways,sharing=locked echo {mark}; sleep {mark}; echo {mark} > /out"
    (folder / "Dockerfile").write_text(f"FROM {busybox} AS work\n{step}\nFROM scratch\nCOPY --from=work /out /\n")
    return Slow(mark=mark, folder=folder)


def killed(fleet: Fleet) -> None:
    """A moment that nobody chose."""
    fleet.kill("gateway-1")


def told_twice(fleet: Fleet) -> None:
    """Whoever told it to stop has no patience: what still runs is cut off."""
    fleet.tell("SIGTERM gateway-1, twice")
    part = fleet.stack.parts["gateway-1"]
    for _ in range(2):
        os.kill(part.pid, signal.SIGTERM)
        time.sleep(1)
    part.process.wait(10)
    fleet.stack.start("gateway-1")


@pytest.mark.parametrize("end", [killed, pytest.param(told_twice, marks=IN_MAKE_CHAOS)])
def test_an_equal_build_joins_what_a_gateway_had_begun(fleet: Fleet, slow: Slow, tmp_path: Path, end: Callable[[Fleet], None]) -> None:
    other, dying = fleet.clients(tmp_path)
    fleet.ready()
    with slow.by(dying) as lost:
        wait_until(slow.is_running, 30)
        held = remains.left(fleet.stack, fleet.cgroup)
        namespaces = remains.namespaces(fleet.stack)
        end(fleet)
        assert lost.process.wait(30) != 0
    said = lost.log.read_text()
    with slow.by(other) as again:
        assert again.process.wait(60) == 0, again.log.read_text()
    fleet.ready()

    assert load.GATEWAY_GONE.search(load.last_words(said)), said
    assert again.out.read_text() == f"{slow.mark}\n"
    assert remains.runs(fleet.stack, [slow.mark]) == {slow.mark: 1}, "the step ran twice"
    assert_everything_can_be_seen(held, namespaces)


def assert_everything_can_be_seen(held: remains.Remains, namespaces: list[str]) -> None:
    """What the last test of all finds nothing of is there while a step runs."""
    assert namespaces or not (PLUGINS / "loopback").exists()
    assert held.keys() == {"mounts", "containers", "cgroups", "temporary files", "processes", "leases and claims", "bus"}
    kept = {entry.partition(": ")[0] for entry in held["bus"]} - {"pulls"}  # where marks of the last one may still be
    assert kept == {"locks", "builds", "bridges", "sessions"}
    counted = " ".join(held["leases and claims"])
    assert all(sample in counted for samples in remains.SAMPLES.values() for sample in samples), counted


def test_told_to_stop_it_serves_its_clients_to_the_end(fleet: Fleet, slow: Slow, tmp_path: Path) -> None:
    """Who comes meanwhile is sent away."""
    _, draining = fleet.clients(tmp_path)
    with slow.by(draining) as build:
        wait_until(slow.is_running, 30)
        os.kill(fleet.stack.parts["gateway-1"].pid, signal.SIGTERM)
        wait_until(lambda: not fleet.stack.is_ready("gateway-1"), 10)
        with slow.by(Buildctl(addr=draining.addr, work=tmp_path / "late")) as late:
            assert late.process.wait(15) != 0
        assert build.process.poll() is None
        assert build.process.wait(60) == 0, build.log.read_text()
    assert fleet.stack.parts["gateway-1"].process.wait(30) == 0
    fleet.stack.start("gateway-1")
    fleet.ready()

    assert build.out.read_text() == f"{slow.mark}\n"
    assert load.GATEWAY_GONE.search(late.log.read_text())
