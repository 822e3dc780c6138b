"""Turns at a pool: no more than it has room for, positions while waiting, turns passed on whatever happens."""

import asyncio
from contextlib import AsyncExitStack

from services.solver.adapters.admission import Admission, Load


class Pool:
    """A pool of changeable size."""

    def __init__(self, slots: int, executors: int = 1) -> None:
        self.slots, self.executors = slots, executors

    def load(self, queue: str) -> Load:
        return Load(executors=self.executors, slots=self.slots, busy=self.slots)


def silent(ahead: int, load: Load) -> None:
    return None


async def test_a_pool_gets_a_little_more_than_it_has_slots_and_the_rest_wait() -> None:
    admission, inside, go_on = Admission(Pool(2), {}), asyncio.Semaphore(0), asyncio.Event()
    count = 0

    async def one() -> None:
        nonlocal count
        async with admission.turn("q", "a", 0, silent):
            count += 1
            inside.release()
            await go_on.wait()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(8):
            tasks.create_task(one())
        for _ in range(3):
            await inside.acquire()
        assert (count, admission.waiting()["q"].depth) == (3, 5)
        go_on.set()

    assert (count, admission.waiting()) == (8, {})


async def test_who_waits_hears_its_position() -> None:
    admission, heard = Admission(Pool(1, executors=0), {}), asyncio.Event()
    said: list[tuple[int, Load]] = []

    def say(ahead: int, load: Load) -> None:
        said.append((ahead, load))
        heard.set()

    async def wait(identity: str) -> None:
        async with admission.turn("q", identity, 0, say if identity == "last" else silent):
            pass

    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        await stack.enter_async_context(admission.turn("q", "first", 0, silent))
        for identity in ("second", "third", "last"):
            tasks.create_task(wait(identity))
        async with asyncio.timeout(5):
            await heard.wait()
        await stack.aclose()

    assert said[0] == (2, Load(executors=0, slots=1, busy=1))


async def test_who_gives_up_passes_its_turn_on() -> None:
    admission = Admission(Pool(1, executors=0), {})
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:
        await stack.enter_async_context(admission.turn("q", "a", 0, silent))
        impatient = tasks.create_task(_turn(admission))
        patient = tasks.create_task(_turn(admission))
        await asyncio.sleep(0)
        impatient.cancel()
        await stack.aclose()
        async with asyncio.timeout(5):
            await patient

    assert admission.waiting() == {}


async def _turn(admission: Admission) -> None:
    async with admission.turn("q", "b", 0, silent):
        await asyncio.sleep(0)
