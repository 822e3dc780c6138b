"""Progress of executors, passed on to whoever asked for the export."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from shared.bus.calls import Served

Relay = Callable[[object], None]
_LIMIT = 256


@asynccontextmanager
async def relayed(served: Served) -> AsyncIterator[Relay]:
    """A callback that hands progress batches over in order; all are handed over before the context is left.

    When the asker falls far behind the oldest waiting batches are dropped: statuses repeat themselves.
    """
    waiting: asyncio.Queue[object] = asyncio.Queue(_LIMIT)

    def take(batch: object) -> None:
        if waiting.full():
            waiting.get_nowait()
            waiting.task_done()
        waiting.put_nowait(batch)

    async def pump() -> None:
        while True:
            batch = await waiting.get()
            try:
                await served.progress(batch)
            finally:
                waiting.task_done()

    async with asyncio.TaskGroup() as tasks:
        pumping = tasks.create_task(pump(), name="export progress")
        try:
            yield take
            await waiting.join()
        finally:
            pumping.cancel()
