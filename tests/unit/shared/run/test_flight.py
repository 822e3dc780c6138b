"""Equal work runs once."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from shared.errors import NotFound
from shared.run import Flight


async def test_equal_work_runs_once_and_all_get_its_result() -> None:
    runs = 0
    go_on = asyncio.Event()

    async def work() -> int:
        nonlocal runs
        runs += 1
        await go_on.wait()
        return 42

    async with asyncio.TaskGroup() as tasks:
        flight: Flight[int] = Flight(tasks)
        asked = [tasks.create_task(flight.do("key", work)) for _ in range(5)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert flight.statistics() == {"flights": 1}
        go_on.set()

    assert ([task.result() for task in asked], runs, flight.statistics()) == ([42] * 5, 1, {"flights": 0})


async def test_after_its_end_it_runs_again() -> None:
    runs: list[int] = []

    async def work() -> None:
        runs.append(1)

    async with asyncio.TaskGroup() as tasks:
        flight: Flight[None] = Flight(tasks)
        await flight.do("key", work)
        await flight.do("key", work)

    assert len(runs) == 2


async def test_an_error_reaches_all_who_wait_and_nobody_else() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        raise NotFound("nothing")

    async def asked(flight: "Flight[int]") -> bool:
        with pytest.raises(NotFound, match="nothing"):
            await flight.do("key", work)
        return True

    async with asyncio.TaskGroup() as tasks:
        flight: Flight[int] = Flight(tasks)
        both = [tasks.create_task(asked(flight)) for _ in range(2)]

    assert all(task.result() for task in both)


async def test_it_goes_on_while_one_waits_and_is_cancelled_with_the_last() -> None:
    cancelled = asyncio.Event()
    began = asyncio.Event()

    async def work() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    async with asyncio.TaskGroup() as tasks:
        flight: Flight[None] = Flight(tasks)
        one, two = (tasks.create_task(flight.do("key", work)) for _ in range(2))
        await began.wait()
        one.cancel()
        await asyncio.sleep(0.01)
        assert not cancelled.is_set()
        two.cancel()
        async with asyncio.timeout(2):
            await cancelled.wait()


async def test_a_failure_that_is_shared_by_nobody() -> None:
    """Each tries with what is his own, one at a time; what one has done the rest need not do."""
    runs: list[str] = []

    def by(who: str) -> Callable[[], Awaitable[str]]:
        async def work() -> str:
            runs.append(who)
            await asyncio.sleep(0)
            if who in ("a", "b"):
                raise NotFound(f"not for {who}")
            return who

        return work

    async with asyncio.TaskGroup() as tasks:
        flight: Flight[str] = Flight(tasks)

        async def asked(who: str) -> str:
            try:
                return await flight.share("key", by(who))
            except NotFound as error:
                return error.message

        found = [tasks.create_task(asked(who)) for who in ("a", "c", "b", "d")]

    assert [task.result() for task in found if task.result().startswith("not")] in (["not for a"], ["not for a", "not for b"])
    assert found[1].result() in ("c", "d") and found[3].result() in ("c", "d")
    assert len(runs) == len(set(runs))


async def test_those_who_try_again_do_so_one_at_a_time() -> None:
    """Whoever waited longest for the first run does not put the second one out of sight."""
    now, most = 0, 0

    async def work() -> None:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(0.01)
        now -= 1
        raise NotFound("nothing")

    async def asked(flight: "Flight[None]") -> None:
        with pytest.raises(NotFound):
            await flight.share("key", work)

    async with asyncio.TaskGroup() as tasks:
        flight: Flight[None] = Flight(tasks)
        for _ in range(5):
            tasks.create_task(asked(flight))
    assert (most, flight.statistics()) == (1, {"flights": 0})
