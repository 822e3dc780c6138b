"""After everybody has died several times: what is left on the machine and on the bus. Runs after the other chaos tests, on their fleet."""

from pathlib import Path

import pytest

from shared.bus.nats import NatsBus
from shared.wire import subjects
from tests.chaos.conftest import Fleet
from tests.e2e.test_failures import wait_until

pytestmark = [pytest.mark.root, pytest.mark.slow]


def mounts_below(folder: Path) -> list[str]:
    """Mount points of this machine."""
    points = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if point.startswith(f"{folder}/")]


def containers_below(folder: Path) -> list[str]:
    """What the runtimes of all executors still know of."""
    return [str(path) for path in folder.glob("executor-*/state/executor/runc/*")]


def processes_in(folder: Path) -> list[str]:
    """Processes whose root lies in a snapshot of these executors."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{folder}/executor" in (process / "mountinfo").read_text() and (process / "root").readlink() != Path("/"):
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return found


def temporary_files(folder: Path) -> list[str]:
    """Bundles, packed layers and uploads under way."""
    places = ("run", "packing", "trash", "snapshots/trash")
    return [str(path) for place in places for path in folder.glob(f"executor-*/state/executor/{place}/*")]


def test_nothing_is_left_behind(fleet: Fleet) -> None:
    folder = fleet.stack.folder
    fleet.ready()

    def quiet() -> bool:
        return not (mounts_below(folder) or containers_below(folder) or processes_in(folder) or temporary_files(folder))

    try:
        wait_until(quiet, 40)
    finally:
        print(mounts_below(folder), containers_below(folder), processes_in(folder), temporary_files(folder))


async def test_no_build_is_left_on_the_bus(fleet: Fleet) -> None:
    """Neither as running nor as one that somebody could take over."""
    bus = await NatsBus.connect(fleet.nats.url)
    try:
        running = await (await bus.bucket(subjects.KV_BUILDS, ttl=30.0)).entries()
        assert [entry.key for entry in running] == []
        owners = [e.key for e in await (await bus.bucket(subjects.KV_BRIDGES, ttl=6 * 3600.0)).entries() if e.key.endswith(".owner")]
        assert owners == []
        assert await bus.depth(subjects.BUILDS) == 0
    finally:
        await bus.close()
