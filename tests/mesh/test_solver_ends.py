"""The end of a build, whatever ends it: nothing of it stays on the bus (KV `bridges`)."""

import asyncio

import pytest

from services.solver.adapters.build_memory import BusMemory
from shared.wire import subjects
from shared.wire.messages import SolveBuild
from tests.kit.solver_mesh import Neighbours, solver_among_neighbours


async def kept(world: Neighbours) -> list[str]:
    return [entry.key for entry in await (await world.bus.bucket(subjects.KV_BRIDGES, ttl=3600)).entries()]


async def until(world: Neighbours, expected: list[str]) -> None:
    async with asyncio.timeout(10):
        while await kept(world) != expected:  # noqa: ASYNC110 (what another part writes)
            await asyncio.sleep(0.01)


async def test_a_client_that_goes_while_its_build_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cancel comes between the build's last step and the removal of what was kept of it."""
    ending, go_on = asyncio.Event(), asyncio.Event()
    is_mine = BusMemory.is_mine

    async def slowly(memory: BusMemory, build: str) -> bool:
        ending.set()
        await go_on.wait()
        return await is_mine(memory, build)

    monkeypatch.setattr(BusMemory, "is_mine", slowly)
    async with solver_among_neighbours(alone=False) as world, asyncio.TaskGroup() as tasks:
        build = tasks.create_task(world.calls.run(subjects.BUILDS, SolveBuild(ref="b", scratch=True)))
        await ending.wait()
        assert await kept(world) == ["b.owner"]
        build.cancel()
        await asyncio.wait([build])
        await asyncio.sleep(0.05)  # the cancel arrives
        go_on.set()
        await until(world, [])


async def test_a_build_whose_solver_died_and_whose_client_went_before_another_had_it() -> None:
    """The next solver gets it from the queue, drops it as cancelled, and removes what the dead one had written."""
    async with solver_among_neighbours(alone=False, builds=1) as world, asyncio.TaskGroup() as tasks:
        busy = tasks.create_task(world.calls.run(subjects.BUILDS, SolveBuild(ref="busy")))
        await until(world, ["busy.owner"])
        bucket = await world.bus.bucket(subjects.KV_BRIDGES, ttl=3600)
        for name in ("owner", "handle"):
            await bucket.put(f"b.{name}", b"1001 dead")
        build = tasks.create_task(world.calls.run(subjects.BUILDS, SolveBuild(ref="b")))
        async with asyncio.timeout(10):
            while await world.bus.depth(subjects.BUILDS) == 0:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        build.cancel()
        await asyncio.wait([build])
        busy.cancel()
        await until(world, [])
