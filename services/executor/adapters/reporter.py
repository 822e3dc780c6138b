"""Progress of a task: collected from any thread, sent in batches as progress frames of the call."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from services.executor.adapters.joined_ops import Hearing
from shared.model import Digest, LogChunk, Status
from shared.wire.messages import TaskProgress

_INTERVAL = 0.1  # seconds between batches while something happens
_BATCH = 32 << 10  # bytes of logs in one frame; a frame must stay below the bus' limit


class BatchReporter:
    """`Reporter` for one vertex."""

    def __init__(self, vertex: Digest) -> None:
        self._vertex = vertex
        self._lock = threading.Lock()
        self._statuses: dict[str, Status] = {}
        self._started: dict[str, int] = {}
        self._logs: list[LogChunk] = []
        self._loop = asyncio.get_running_loop()
        self._waiting = asyncio.Event()

    def status(self, id: str, *, current: int = 0, total: int = 0, name: str = "", done: bool = False) -> None:
        """The newest state of each status wins within a batch."""
        now = time.time_ns()
        with self._lock:
            started = self._started.setdefault(id, now)
            self._statuses[id] = Status(
                vertex=self._vertex,
                id=id,
                name=name,
                current=current,
                total=total,
                timestamp=now,
                started=started,
                completed=now if done else 0,
            )
        self._wake()

    def log(self, stream: int, data: bytes) -> None:
        """Kept in order, cut into pieces that fit a frame."""
        now = time.time_ns()
        with self._lock:
            for at in range(0, len(data), _BATCH):
                self._logs.append(LogChunk(vertex=self._vertex, stream=stream, data=bytes(data[at : at + _BATCH]), timestamp=now))
        self._wake()

    def _wake(self) -> None:
        if not self._waiting.is_set():
            self._loop.call_soon_threadsafe(self._waiting.set)

    def take(self) -> list[TaskProgress]:
        """What has been collected, as frames."""
        with self._lock:
            statuses, self._statuses = tuple(self._statuses.values()), {}
            logs, self._logs = self._logs, []
        frames: list[TaskProgress] = []
        batch: list[LogChunk] = []
        size = 0
        for chunk in logs:
            if batch and size + len(chunk.data) > _BATCH:
                frames.append(TaskProgress(logs=tuple(batch)))
                batch, size = [], 0
            batch.append(chunk)
            size += len(chunk.data)
        if batch or statuses:
            frames.append(TaskProgress(statuses=statuses, logs=tuple(batch)))
        return frames

    async def pump(self, hearing: Hearing) -> None:
        """Send batches until cancelled. The first goes out at once, the next ones after an interval."""
        while True:
            await self._waiting.wait()
            self._waiting.clear()
            await self.flush(hearing)
            await asyncio.sleep(_INTERVAL)

    async def flush(self, hearing: Hearing) -> None:
        """Send what is there."""
        for frame in self.take():
            await hearing.progress(frame)


@asynccontextmanager
async def reporting(hearing: Hearing, vertex: Digest) -> AsyncIterator[BatchReporter]:
    """A reporter whose every word has been sent when the context is left."""
    report = BatchReporter(vertex)
    async with asyncio.TaskGroup() as tasks:
        pump = tasks.create_task(report.pump(hearing), name="task progress")
        try:
            yield report
        finally:
            pump.cancel()
            await report.flush(hearing)
