"""Cancellation that other people's code swallows.

`asyncio.wait_for` of Python 3.11 returns the result, and forgets the cancellation, when both come in the same turn of the loop
(https://github.com/python/cpython/issues/86296, mended in 3.12). nats-py waits by it everywhere, so a task cancelled while it
publishes would simply go on, and whoever waits for its end would wait for ever.
"""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def heeding(operation: Awaitable[T]) -> T:
    """The operation's result; raises CancelledError when the task was cancelled meanwhile and the operation did not tell."""
    task = asyncio.current_task()
    before = task.cancelling() if task is not None else 0
    result = await operation
    if task is not None and task.cancelling() > before:
        raise asyncio.CancelledError
    return result
