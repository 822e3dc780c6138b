"""What still runs for a solver that is gone is joined by the one that has its build now, and asks for the same again.

Only within one build: what equal steps of different builds have in common the solvers know (docs/adr/0051).
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Protocol

from shared.run.flight import Flight
from shared.wire.messages import OpDone, RunOp

__all__ = ["Audience", "Hearing", "JoinedOps"]


class Hearing(Protocol):
    """Who hears how an op gets on: its call, or all calls for it."""

    async def progress(self, message: Any) -> None: ...


class Audience:
    """All who asked for one run. What was said before somebody came he has from the build's log."""

    def __init__(self, work: Callable[[Hearing], Awaitable[OpDone]]) -> None:
        self.all: list[Hearing] = []
        self._work = work
        self._running = asyncio.Lock()

    async def run(self) -> OpDone:
        """For all of them."""
        async with self._running:
            return await self._work(self)

    async def gone(self) -> None:
        """A container that is killed takes a moment: its slot is not free before."""
        async with self._running:
            return

    async def progress(self, message: Any) -> None:
        for hearing in list(self.all):
            await hearing.progress(message)


class JoinedOps:
    """Runs live in `tasks`, for as long as anybody wants them."""

    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self._flight: Flight[OpDone] = Flight(tasks)
        self._audiences: dict[Hashable, Audience] = {}

    def is_running(self, request: RunOp) -> bool:
        """Whether an equal one of this build runs: then it needs no slot of its own."""
        return _key(request) in self._audiences

    async def run(self, request: RunOp, hearing: Hearing, work: Callable[[Hearing], Awaitable[OpDone]]) -> OpDone:
        """The result of `work`, or of the equal run under way. Raises as that does. Who leaves last waits until it has ended."""
        key = _key(request)
        audience = self._audiences.setdefault(key, Audience(work))
        audience.all.append(hearing)
        try:
            return await self._flight.do(key, audience.run)
        finally:
            audience.all.remove(hearing)
            if not audience.all:
                del self._audiences[key]
                await audience.gone()


def _key(request: RunOp) -> Hashable:
    inputs = tuple(None if ref is None else ref.id for ref in request.inputs)
    return request.scope.lease, request.vertex, request.op, inputs
