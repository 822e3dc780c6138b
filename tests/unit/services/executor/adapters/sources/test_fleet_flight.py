"""What one executor downloads the others wait for; who falls silent holds nobody up."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from services.executor.adapters.sources.fleet_flight import FleetFlight
from shared.bus.holds import Life
from shared.bus.memory import MemoryBus
from shared.errors import Unavailable

QUICK = Life(ttl=5.0, renew=0.05, look=0.01)


class Download:
    """Something that is there once it has been downloaded."""

    def __init__(self) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.runs: list[str] = []
        self.here = False
        self.error: Exception | None = None

    def by(self, who: str) -> Callable[[], object]:
        async def run() -> None:
            self.runs.append(who)
            self.begun.set()
            await self.go_on.wait()
            if self.error is not None:
                error, self.error = self.error, None
                raise error
            self.here = True

        return run

    async def done(self) -> bool:
        return self.here


async def test_one_of_many_downloads() -> None:
    """The others find it done."""
    bucket = await MemoryBus().bucket("pulls", ttl=5.0)
    download = Download()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        for who in ("e1", "e2", "e3"):
            tasks.create_task(FleetFlight(bucket, who, life=QUICK).do("key", download.by(who), download.done))  # type: ignore[arg-type]
        await download.begun.wait()
        await asyncio.sleep(0.05)
        download.go_on.set()
    assert download.runs == ["e1"]
    assert await bucket.get("key") is None


async def test_a_failure_is_the_first_ones_alone() -> None:
    """The next one tries by himself."""
    bucket = await MemoryBus().bucket("pulls", ttl=5.0)
    download = Download()
    download.error = Unavailable("429")
    download.go_on.set()
    with pytest.raises(Unavailable, match="429"):
        await FleetFlight(bucket, "e1", life=QUICK).do("key", download.by("e1"), download.done)  # type: ignore[arg-type]
    await FleetFlight(bucket, "e2", life=QUICK).do("key", download.by("e2"), download.done)  # type: ignore[arg-type]
    assert download.runs == ["e1", "e2"]


async def test_a_dead_executor_is_not_waited_for() -> None:
    """Its key expires."""
    bucket = await MemoryBus().bucket("pulls", ttl=0.1)
    await bucket.put("key", b"dead")
    download = Download()
    download.go_on.set()
    async with asyncio.timeout(5):
        await FleetFlight(bucket, "e2", life=QUICK).do("key", download.by("e2"), download.done)  # type: ignore[arg-type]
    assert download.runs == ["e2"]


async def test_a_long_download_keeps_its_key() -> None:
    """Longer than the key lives without renewal."""
    bucket = await MemoryBus().bucket("pulls", ttl=0.2)
    download, life = Download(), replace(QUICK, ttl=0.2)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        for who in ("e1", "e2"):
            tasks.create_task(FleetFlight(bucket, who, life=life).do("key", download.by(who), download.done))  # type: ignore[arg-type]
        await download.begun.wait()
        await asyncio.sleep(0.5)
        download.go_on.set()
    assert download.runs == ["e1"]


async def test_without_a_fleet_it_just_runs() -> None:
    """Nobody is asked."""
    download = Download()
    download.go_on.set()
    await FleetFlight(None, "e1", life=QUICK).do("key", download.by("e1"), download.done)  # type: ignore[arg-type]
    assert download.runs == ["e1"]


async def test_a_hold_that_another_one_has_now_is_not_released() -> None:
    """This executor stood still, its key expired, and somebody else downloads."""
    bucket = await MemoryBus().bucket("pulls", ttl=5.0)
    download = Download()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(FleetFlight(bucket, "e1", life=QUICK).do("key", download.by("e1"), download.done))  # type: ignore[arg-type]
        await download.begun.wait()
        await bucket.put("key", b"e2 another")
        await asyncio.sleep(3 * QUICK.renew)
        download.go_on.set()
    left = await bucket.get("key")
    assert left is not None
    assert left.value == b"e2 another"
