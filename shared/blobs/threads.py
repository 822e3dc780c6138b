"""A named, bounded pool for the blocking calls of a store."""

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class Pool:
    """`await pool.do(os.pread, fd, n, at)`. At most `width` run at a time, the others wait."""

    def __init__(self, name: str, width: int) -> None:
        self._threads = ThreadPoolExecutor(max_workers=width, thread_name_prefix=name)

    async def do(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The result of `call`, from a thread. A cancelled waiter leaves the call to finish by itself."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: call(*args, **kwargs))

    @property
    def threads(self) -> Executor:
        """The pool itself, for code that takes a concurrent.futures.Executor."""
        return self._threads

    @property
    def executor(self) -> ThreadPoolExecutor:
        """The threads themselves, for callees that hand work to them one by one."""
        return self._threads

    async def finish(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like `do`, but a cancelled waiter leaves only when the call has ended: for calls that hold what is then cleaned up."""
        return await self.stoppable(lambda: None, call, *args, **kwargs)

    async def take(self, undo: Callable[[T], object], call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like `finish`, for a call whose result somebody has to give back: a waiter that is cancelled meanwhile gives it to `undo`.

        Without this the result of such a call is lost when the cancellation comes while it runs, or in the instant of its end.
        """
        taken: list[T] = []

        def note() -> T:
            taken.append(call(*args, **kwargs))
            return taken[0]

        try:
            return await self.finish(note)
        except asyncio.CancelledError:
            if taken:
                await self.finish(undo, taken[0])
            raise

    async def stoppable(self, stop: Callable[[], None], call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Like `finish`; `stop` is called when the waiter is cancelled, so that the call can end early."""
        running = asyncio.get_running_loop().run_in_executor(self._threads, lambda: call(*args, **kwargs))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            stop()
            while not running.done():
                with contextlib.suppress(asyncio.CancelledError):  # the first one is raised below
                    await asyncio.wait([running])
            if not running.cancelled():
                running.exception()  # looked at, so that it is not reported as lost
            raise

    def close(self) -> None:
        """Let running calls finish, start none."""
        self._threads.shutdown(wait=False, cancel_futures=True)
