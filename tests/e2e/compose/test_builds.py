"""Unmodified clients build through a fleet from outside; executors come and go meanwhile."""

import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from tests.e2e.compose.conftest import SLOTS, Fleet
from tests.e2e.conftest import context_in
from tests.kit.clients import Buildctl, Buildx
from tests.kit.parts.compose import Container

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(900)]  # the first of them builds an image and starts a fleet

HELLO = "FROM busybox AS make\nCOPY word /\nRUN echo hello $(cat /word) > /out\nFROM scratch\nCOPY --from=make /out /\n"
TAKES_WORK_WITHIN = 2.0


def test_clients_build_from_outside(
    buildctl: Buildctl, buildx: Buildx, from_busybox: list[str], busybox_layout: Path, tmp_path: Path
) -> None:
    """buildctl, then buildx: what one has built the other finds cached."""
    context = context_in(tmp_path)(HELLO, {"word": "fleet"})
    first = buildctl.build(context, *from_busybox, f"--output=type=local,dest={tmp_path}/one")
    second = buildx.build(context, f"--build-context=busybox=oci-layout://{busybox_layout}:latest", f"--output={tmp_path}/two")

    assert (tmp_path / "one/out").read_text() == (tmp_path / "two/out").read_text() == "hello fleet\n"
    assert len(first.ran()) == 3
    assert second.ran() == []


class Work:
    """Builds of independent steps, whose outputs are compared, until told to stop."""

    def __init__(self, addr: str, options: list[str], folder: Path) -> None:
        self._addr, self._options, self._folder = addr, options, folder
        self._enough = Event()

    def build(self, name: str, steps: int, seconds: float) -> None:
        stages = "".join(f"FROM busybox AS s{n}\nRUN sleep {seconds} && echo {name} {n} > /out{n}\n" for n in range(steps))
        copies = "".join(f"COPY --from=s{n} /out{n} /\n" for n in range(steps))
        context = context_in(self._folder)(f"{stages}FROM scratch\n{copies}", name=name)
        out = self._folder / f"{name}-out"
        client = Buildctl(addr=self._addr, work=self._folder / f"{name}-work")
        client.build(context, *self._options, f"--output=type=local,dest={out}", seconds=120)
        assert {file.name: file.read_text() for file in out.iterdir()} == {f"out{n}": f"{name} {n}\n" for n in range(steps)}

    def keep_on(self, name: str) -> int:
        """One build after another; how many were done."""
        done = 0
        while not self._enough.is_set():
            self.build(f"{name}-{done}", 4, 0.3)
            done += 1
        return done

    def enough(self) -> None:
        self._enough.set()


def test_executors_come_and_go_during_builds(fleet: Fleet, from_busybox: list[str], tmp_path: Path) -> None:
    """1 → 4 → 1: a new executor has work two seconds after it is ready; those that go take no build with them."""
    work = Work(fleet.addr, from_busybox, tmp_path)
    with ThreadPoolExecutor(8) as pool:
        streams = [pool.submit(work.keep_on, f"stream{n}") for n in range(3)]
        large = pool.submit(work.build, "large", 20 * SLOTS, 1.0)
        try:
            fleet.scale(4)
            new = fleet.compose.containers("executor")[1:]
            taken = [within(TAKES_WORK_WITHIN, lambda found=found: has_worked(found)) for found in new]  # type: ignore[misc]
            large.result(120)
            last = pool.submit(work.build, "last", 8 * SLOTS, 0.5)
            fleet.scale(1)
            last.result(120)
        finally:
            work.enough()
    done = sum(stream.result() for stream in streams)

    print(f"{done} builds beside two large ones during 1 → 4 → 1; work after being ready: {taken} s")
    assert len(new) == 3
    assert done >= 3
    assert [found.number for found in fleet.compose.containers("executor")] == [1]


def within(seconds: float, happened: Callable[[], bool]) -> float:
    """Seconds until it happened; fails after `seconds`."""
    started = time.monotonic()
    while not happened():
        assert time.monotonic() - started < seconds, f"nothing within {seconds} s"
        time.sleep(0.05)
    return round(time.monotonic() - started, 2)


def has_worked(executor: Container) -> bool:
    """Whether its own metrics tell of an op, finished or under way."""
    with urllib.request.urlopen(f"http://{executor.address('_mesh')}:8080/metrics", timeout=2) as answer:
        rows = [line.rpartition(" ") for line in answer.read().decode().splitlines() if line and not line.startswith("#")]
    return any(float(value) > 0 for name, _, value in rows if name.startswith(("buildmesh_ops_total", "buildmesh_executor_slots_busy")))
