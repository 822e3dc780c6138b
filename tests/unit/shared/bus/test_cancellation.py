"""A cancellation is not lost in code that swallows it."""

import asyncio
import contextlib

import pytest

from shared.bus.cancellation import heeding


async def deaf(seen: asyncio.Event) -> str:
    """As asyncio.wait_for of Python 3.11 when the result comes together with the cancellation."""
    seen.set()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    return "result"


async def test_a_swallowed_cancellation_is_raised_again() -> None:
    """The task ends, though the operation went on."""
    seen, after = asyncio.Event(), []

    async def work() -> None:
        await heeding(deaf(seen))
        after.append("went on")

    async with asyncio.timeout(5):
        task = asyncio.get_running_loop().create_task(work())
        await seen.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert after == []


async def test_operations_in_the_clean_up_after_a_cancellation_work() -> None:
    """Only a cancellation that comes during the operation counts."""
    told = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            told.append(await heeding(asyncio.sleep(0, "told")))

    async with asyncio.timeout(5):
        task = asyncio.get_running_loop().create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert told == ["told"]


async def test_results_and_errors_pass() -> None:
    """Nothing else changes."""

    async def fail() -> None:
        raise ValueError("x")

    assert await heeding(asyncio.sleep(0, 5)) == 5
    with pytest.raises(ValueError, match="x"):
        await heeding(fail())
