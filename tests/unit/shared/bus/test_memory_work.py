"""The work queue in memory, where it is finer than the contract."""

import asyncio

from shared.bus.memory_work import WorkQueue
from shared.bus.ports import Delivery


def job(name: str) -> Delivery:
    return Delivery(subject="work.x", data=name.encode())


async def names(queue: WorkQueue, count: int) -> list[bytes]:
    found = []
    for _ in range(count):
        lease = await queue.pull(1)
        assert lease is not None
        found.append(lease.delivery.data)
        await lease.done()
    return found


async def test_oldest_first_and_what_comes_back_is_the_oldest() -> None:
    queue = WorkQueue(ack_wait=30)
    for name in "abc":
        queue.add(job(name), name)
    first = await queue.pull(1)
    assert first is not None
    await first.give_back()

    assert await names(queue, 3) == [b"a", b"b", b"c"]


async def test_a_puller_that_gives_up_does_not_swallow_work() -> None:
    queue = WorkQueue(ack_wait=30)
    async with asyncio.TaskGroup() as tasks:
        impatient = tasks.create_task(queue.pull(30))
        patient = tasks.create_task(queue.pull(5))
        await asyncio.sleep(0)
        queue.add(job("a"), "a")
        impatient.cancel()

    lease = patient.result()
    assert lease is not None
    assert lease.delivery.data == b"a"
    await lease.done()


async def test_a_delayed_hand_back() -> None:
    queue = WorkQueue(ack_wait=30)
    queue.add(job("a"), "a")
    lease = await queue.pull(1)
    assert lease is not None
    await lease.give_back(delay=0.05)

    assert queue.depth() == 0
    again = await queue.pull(2)
    assert again is not None
    assert again.attempt == 2
    await again.done()


async def test_a_settled_lease_stays_settled() -> None:
    queue = WorkQueue(ack_wait=30)
    queue.add(job("a"), "a")
    lease = await queue.pull(1)
    assert lease is not None
    await lease.done()
    await lease.keep()
    await lease.give_back()

    assert await queue.pull(0.01) is None
