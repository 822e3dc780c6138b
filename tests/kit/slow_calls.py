"""Cancelling work just while one of its blocking calls runs in a thread."""

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any


async def cancelled_during(owner: object, call: str, work: Coroutine[Any, Any, object], *, nth: int = 1) -> None:
    """Runs `work` until `owner.call` is entered for the `nth` time, cancels it there, lets the call go on, and waits for the end."""
    began, go, real, seen = threading.Event(), threading.Event(), getattr(owner, call), 0

    def slowly(*args: Any, **kwargs: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == nth:
            began.set()
            assert go.wait(10)
        return real(*args, **kwargs)

    setattr(owner, call, slowly)
    try:
        task = asyncio.get_running_loop().create_task(work)
        assert await asyncio.to_thread(began.wait, 10)
        task.cancel()
        await asyncio.sleep(0)
        go.set()
        with suppress(asyncio.CancelledError):
            await task
    finally:
        delattr(owner, call)
    assert task.cancelled()
