"""The pool when its waiters are cancelled: what is left to run, what is waited for, what is given back."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import pytest

from shared.blobs.threads import Pool

T = TypeVar("T")


@pytest.fixture
def pool() -> Iterator[Pool]:
    made = Pool("test", 2)
    yield made
    made.close()


class Slow:
    """A call that lasts until it is let go."""

    def __init__(self) -> None:
        self.go, self.began, self.ended = threading.Event(), threading.Event(), False

    def __call__(self) -> str:
        self.began.set()
        self.go.wait(10)
        self.ended = True
        return "result"


def begin(work: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
    """A task that the test cancels itself."""
    return asyncio.get_running_loop().create_task(work)


async def begun(call: Slow) -> None:
    assert await asyncio.to_thread(call.began.wait, 10)


async def test_results_and_errors_come_back(pool: Pool) -> None:
    def fail() -> None:
        raise ValueError("x")

    assert await pool.do(divmod, 7, 2) == await pool.finish(divmod, 7, 2) == await pool.take(print, divmod, 7, 2) == (3, 1)
    for road in (pool.do, pool.finish):
        with pytest.raises(ValueError, match="x"):
            await road(fail)


async def test_do_leaves_the_call_to_itself(pool: Pool) -> None:
    call = Slow()
    waiting = begin(pool.do(call))
    await begun(call)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert not call.ended
    call.go.set()


async def test_finish_leaves_only_when_the_call_has_ended(pool: Pool) -> None:
    """However often it is cancelled."""
    call = Slow()
    waiting = begin(pool.finish(call))
    await begun(call)
    for _ in range(3):
        waiting.cancel()
        await asyncio.sleep(0)
        assert not waiting.done()
    call.go.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert call.ended


@pytest.mark.parametrize("before", [True, False], ids=["while it runs", "in the instant of its end"])
async def test_what_was_taken_is_given_back(pool: Pool, before: bool) -> None:
    """The result of a cancelled `take` goes to `undo`, before the cancellation is told."""
    call, undone = Slow(), list[str]()
    waiting = begin(pool.take(undone.append, call))
    await begun(call)
    if before:
        waiting.cancel()
        await asyncio.sleep(0)
        call.go.set()
    else:
        call.go.set()
        while not call.ended:  # the loop does not run meanwhile: the end is not seen before the cancellation
            pass
        waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert undone == ["result"]


async def test_a_call_that_fails_has_nothing_to_give_back(pool: Pool) -> None:
    go, began, undone = threading.Event(), threading.Event(), list[None]()

    def fail() -> None:
        began.set()
        go.wait(10)
        raise OSError("no")

    waiting = begin(pool.take(undone.append, fail))
    assert await asyncio.to_thread(began.wait, 10)
    waiting.cancel()
    go.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    assert undone == []
