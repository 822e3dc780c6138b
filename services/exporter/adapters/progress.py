"""Status lines of an export, sent as progress frames of the call."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from shared.bus.calls import Served
from shared.model import Digest, Status
from shared.wire.messages import TaskProgress


class CallProgress:
    """Statuses on `vertex`; `clock` gives nanoseconds since the epoch."""

    def __init__(self, served: Served, vertex: Digest, clock: Callable[[], int] = time.time_ns) -> None:
        self._served = served
        self._vertex = vertex
        self._clock = clock

    @asynccontextmanager
    async def step(self, id: str) -> AsyncIterator[None]:
        """Starts now, completes when left (also by an error)."""
        started = self._clock()
        await self._send(Status(vertex=self._vertex, id=id, timestamp=started, started=started))
        try:
            yield
        finally:
            now = self._clock()
            await self._send(Status(vertex=self._vertex, id=id, timestamp=now, started=started, completed=now))

    async def relay(self, progress: TaskProgress) -> None:
        """Pass on what an executor reports for the same vertex."""
        await self._served.progress(progress)

    async def _send(self, status: Status) -> None:
        await self._served.progress(TaskProgress(statuses=(status,)))
