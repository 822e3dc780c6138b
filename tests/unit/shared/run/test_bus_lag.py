"""A message to oneself."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from shared.bus.memory import MemoryBus
from shared.errors import Unavailable
from shared.run.bus_lag import round_trip


async def test_it_is_measured() -> None:
    assert 0 <= await round_trip(MemoryBus()) < 5


async def test_a_bus_that_says_nothing_counts_as_the_wait() -> None:
    class Silent(MemoryBus):
        async def publish(self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
            return None

    assert await round_trip(Silent(), within=0.05) == 0.05


async def test_a_bus_that_is_away_does_not_end_the_watch() -> None:
    class Away(MemoryBus):
        @asynccontextmanager
        async def subscribe(self, subject: str, *, queue: str = "") -> AsyncIterator[object]:  # type: ignore[override]
            raise Unavailable("the bus is away")
            yield

    assert await round_trip(Away(), within=0.05) == 0.05
