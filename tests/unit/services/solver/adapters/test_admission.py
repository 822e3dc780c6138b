"""Turns at a pool: no more than it has room for, positions while waiting, turns passed on whatever happens."""

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from services.solver.adapters import admission as admission_module
from services.solver.adapters import fleet_turns
from services.solver.adapters.admission import Admission, Load
from services.solver.adapters.fleet_turns import FleetTurns
from shared.bus.memory import MemoryBus
from shared.wire import subjects


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


async def shares(told: bool, weights: dict[str, float]) -> Counter[str]:
    """Who was served how often out of 200 times, when `a` asks at two solvers and `b` at one of them, all for one pool of four slots."""
    pool, bus, slots = Pool(4, executors=2), MemoryBus(), asyncio.Queue[tuple[str, asyncio.Event]]()
    served: Counter[str] = Counter()
    enough = asyncio.Event()

    async def ask(admission: Admission, identity: str) -> None:
        async with admission.turn("q", identity, 0, silent):
            done = asyncio.Event()
            slots.put_nowait((identity, done))
            await done.wait()

    async def executor() -> None:
        while True:
            identity, done = await slots.get()
            await asyncio.sleep(0.002)
            served[identity] += 1
            done.set()
            if served.total() == 200:
                enough.set()

    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        admissions = [Admission(pool, weights) for _ in range(2)]
        turns = [tasks.create_task(FleetTurns(f"s{number}", each).run(bus)) for number, each in enumerate(admissions) if told]
        wanted = [(0, "a"), (1, "a"), (1, "b")]
        asking = [tasks.create_task(ask(admissions[solver], identity)) for solver, identity in wanted for _ in range(300)]
        while told and not all(each._others for each in admissions):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        working = [tasks.create_task(executor()) for _ in range(4)]
        await enough.wait()
        for task in (*asking, *working, *turns):
            task.cancel()
    return served


async def test_shares_are_even_over_all_solvers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that spreads its builds over solvers gets no more by it."""
    monkeypatch.setattr(fleet_turns, "TELL", 0.01)
    alone = await shares(False, {})
    assert alone["b"] < 0.3 * alone.total(), "by themselves each solver is fair to those that it knows"
    together = await shares(True, {})
    assert 0.38 * together.total() < together["b"] < 0.62 * together.total()
    weighted = await shares(True, {"b": 3.0})
    assert weighted["b"] > 0.6 * weighted.total()


async def test_a_solver_that_falls_silent_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission_module, "HEARD", 0.05)
    admission = Admission(Pool(8, executors=0), {})
    admission.hear("other", {"q": {"b": 100}})
    async with AsyncExitStack() as stack, asyncio.TaskGroup() as tasks:

        async def one() -> None:
            async with admission.turn("q", "a", 0, silent):
                pass

        for _ in range(4):
            await stack.enter_async_context(admission.turn("q", "a", 0, silent))
        fifth = tasks.create_task(one())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert admission.waiting()["q"].depth == 1, "half of eight is for the other"
        async with asyncio.timeout(5):
            await fifth


async def test_nonsense_from_the_bus_changes_nothing() -> None:
    admission, bus = Admission(Pool(4), {}), MemoryBus()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        running = tasks.create_task(FleetTurns("own", admission).run(bus))
        await asyncio.sleep(0.05)
        for said in (
            b"\xff",
            b"[]",
            b"{}",
            b'{"solver": "x y", "wants": {}}',
            b'{"solver": "s", "wants": {"q": {"a": -1}}}',
            b'{"solver": 1}',
        ):
            await bus.publish(subjects.SOLVER_TURNS, said)
        await bus.publish(subjects.SOLVER_TURNS, b'{"solver": "own", "wants": {"q": {"a": 1}}}')
        await bus.publish(subjects.SOLVER_TURNS, b'{"solver": "s1", "wants": {"q": {"a": 1}}}')
        while "s1" not in admission._others:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        assert list(admission._others) == ["s1"]
        running.cancel()
