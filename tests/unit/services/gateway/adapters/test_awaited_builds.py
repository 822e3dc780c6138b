"""Who waits for a build to appear, and how long."""

import asyncio

import pytest

from services.gateway.adapters import awaited_builds
from services.gateway.adapters.awaited_builds import AwaitedBuilds
from shared.errors import NotFound, Unavailable


class Announcements:
    """What gateways say on the bus; it can be away."""

    def __init__(self) -> None:
        self.known: set[str] = set()
        self.away = False
        self.asked = asyncio.Event()
        self._never = asyncio.Event()

    async def appears(self, ref: str) -> None:
        self.asked.set()
        if self.away:
            raise Unavailable("the bus is away")
        await self._never.wait()


@pytest.fixture
def said() -> Announcements:
    return Announcements()


@pytest.fixture
def awaited(said: Announcements) -> AwaitedBuilds:
    return AwaitedBuilds(said.known.__contains__, said.appears)


async def test_a_build_that_nobody_begins_is_no_job(awaited: AwaitedBuilds) -> None:
    with pytest.raises(NotFound, match="no such job b1"):
        await awaited.wait("b1", 0.01)


async def test_a_bus_that_is_away_is_told_when_the_build_does_not_begin_here(said: Announcements, awaited: AwaitedBuilds) -> None:
    said.away = True
    with pytest.raises(Unavailable):
        await awaited.wait("b1", 5.0)


@pytest.mark.parametrize("away", [False, True])
async def test_calls_wait_as_long_as_their_solve_does(
    said: Announcements, awaited: AwaitedBuilds, away: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether watching the bus fails or only says nothing: a call gives up after its Solve, not before."""
    monkeypatch.setattr(awaited_builds, "AGAIN", 0.01)
    said.away = away
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        with awaited.beginning("b1"):
            call = tasks.create_task(awaited.wait("b1", 0.01))
            for _ in range(3):  # its time passes several times
                said.asked.clear()
                await said.asked.wait()
            assert not call.done()
            said.known.add("b1")
        awaited.end("b1")


async def test_calls_end_with_a_solve_that_never_reached_the_bus(said: Announcements, awaited: AwaitedBuilds) -> None:
    async def refuse() -> None:
        with awaited.beginning("b1"):
            await said.asked.wait()
        awaited.refuse("b1")

    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        tasks.create_task(refuse())
        with pytest.raises(NotFound, match="no such job b1"):
            await awaited.wait("b1", 60.0)
    assert awaited.is_refused("b1")
