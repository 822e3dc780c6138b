"""A lock of the fleet: one holder at a time, given on when it is released or its holder is gone, and lost by who stood still."""

import asyncio

import pytest

from services.executor.adapters.fleet_locks import FleetLocks
from shared.bus.holds import Life
from shared.bus.memory import MemoryBus
from shared.errors import BuildFailed, CallLost
from shared.wire import subjects

SHORT = 0.5


async def test_one_holder_at_a_time() -> None:
    bus = MemoryBus()
    inside = most = 0

    async def use(locks: FleetLocks, name: str) -> None:
        nonlocal inside, most
        async with locks.hold(name):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.02)
            inside -= 1

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        executors = [FleetLocks(bus, tasks) for _ in range(3)]
        for locks in executors * 2:
            tasks.create_task(use(locks, "one"))

    assert most == 1
    assert await (await bus.bucket(subjects.KV_LOCKS, ttl=10)).entries() == []


async def test_other_names_are_other_locks() -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        locks = FleetLocks(MemoryBus(), tasks)
        async with locks.hold("one"), locks.hold("two"):
            pass


async def test_a_holder_that_is_gone_holds_nobody_up_for_long() -> None:
    bus = MemoryBus()
    bucket = await bus.bucket(subjects.KV_LOCKS, ttl=SHORT)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        locks = FleetLocks(bus, tasks, life=Life(ttl=SHORT, renew=0.1, look=0.05))
        async with locks.hold("one"):
            (held,) = await bucket.entries()
        await bucket.create(held.key, b"somebody who died")
        async with locks.hold("one"):
            await asyncio.sleep(2 * SHORT)  # longer than an entry lives: it is renewed
            assert len(await bucket.entries()) == 1


async def test_who_has_lost_it_is_stopped() -> None:
    bus = MemoryBus()
    bucket = await bus.bucket(subjects.KV_LOCKS, ttl=SHORT)
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        locks = FleetLocks(bus, tasks, life=Life(ttl=SHORT, renew=0.05, look=0.05))
        with pytest.raises(CallLost, match="the lock of 'one' was lost"):
            async with locks.hold("one"):
                (held,) = await bucket.entries()
                await bucket.put(held.key, b"another one, while this one stood still")
                await asyncio.sleep(60)

    assert [entry.value for entry in await bucket.entries()] == [b"another one, while this one stood still"]


async def test_errors_of_the_work_come_out_as_they_are() -> None:
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        locks = FleetLocks(MemoryBus(), tasks)
        with pytest.raises(BuildFailed, match="mine"):
            async with locks.hold("one"):
                raise BuildFailed("mine")
        with pytest.raises(TimeoutError):
            async with locks.hold("one"):
                raise TimeoutError
