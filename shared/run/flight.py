"""Single flight: equal work asked for at the same time runs once, and is cancelled when nobody waits for it any more."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from shared.errors import BuildmeshError

T = TypeVar("T")


class _Shared(Generic[T]):
    def __init__(self, task: "asyncio.Task[T]") -> None:
        self.task = task
        self.waiting = 0


class Flight(Generic[T]):
    """Runs work in the task group it is given, keyed by what makes it equal."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._tasks = tasks
        self._shared: dict[Hashable, _Shared[T]] = {}

    async def do(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """The result of `work`, or of the equal one under way. Its exception reaches everybody who waits, and nobody else."""
        shared = self._shared.get(key)
        if shared is None:
            made = shared = _Shared(self._tasks.create_task(_quiet(work), name=f"flight {key}"))
            self._shared[key] = made
            made.task.add_done_callback(lambda _: self._drop(key, made))
        shared.waiting += 1
        try:
            outcome = await asyncio.shield(shared.task)
        finally:
            shared.waiting -= 1
            if not shared.waiting:
                self._drop(key, shared)
                shared.task.cancel()
        if isinstance(outcome, _Raised):
            raise outcome.error
        return outcome

    def _drop(self, key: Hashable, shared: _Shared[T]) -> None:
        """There may be another one by now."""
        if self._shared.get(key) is shared:
            del self._shared[key]

    async def share(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        """As `do`, but a failure is his alone whose work it was: the others try with their own, one at a time.

        For work that is equal only when it succeeds: what one may not have, or can't reach, others may and can.
        """
        mine = False

        async def own() -> T:
            nonlocal mine
            mine = True
            return await work()

        while True:
            try:
                return await self.do(key, own)
            except BuildmeshError:
                if mine:
                    raise

    def statistics(self) -> dict[str, int]:
        """How much is under way."""
        return {"flights": len(self._shared)}


class _Raised:
    def __init__(self, error: Exception) -> None:
        self.error = error


async def _quiet(work: Callable[[], Awaitable[T]]) -> T:
    """The task group must not end with the work: its exception is handed to those who wait."""
    try:
        return await work()
    except Exception as error:
        return _Raised(error)  # type: ignore[return-value]
