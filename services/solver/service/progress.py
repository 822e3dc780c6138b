"""Who hears what: the progress of shared vertices goes to every build that needs them, late ones get it from the start.

`Hub` knows the vertices, a `Stream` is the event log of one build: batched, split to what a bus message may hold, ended once.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from services.solver.core.pipe import CanceledPipe
from services.solver.core.vertex import Vertex
from services.solver.core.vertex_stream import CANCELED, VertexStream
from services.solver.ports import Journal
from shared.errors import BuildmeshError, Canceled
from shared.model import Digest, LogChunk, Status, VertexEvent, Warn
from shared.wire.messages import BuildEvents

PREFIXES = ("failed to load cache key: ", "failed to compute cache key: ", "failed to load cache: ")
QUIET = 0.03  # seconds between two batches
KEPT_LOG = 2 << 20  # bytes of a vertex's log that late builds still get
BATCH_BYTES = 24 << 10
BATCH_ITEMS = 100


def error_text(error: BaseException | None) -> str:
    """What the line of a vertex says of its error."""
    if error is None:
        return ""
    if isinstance(error, CanceledPipe | Canceled):
        return CANCELED
    text = error.message if isinstance(error, BuildmeshError) else str(error) or type(error).__name__
    for prefix in PREFIXES:
        text = text.removeprefix(prefix)
    return text


class Stream:
    """The progress of one build."""

    def __init__(self, build: str, journal: Journal, now: Callable[[], int]) -> None:
        self._build = build
        self._journal = journal
        self._now = now
        self.started = now()
        self._vertices = VertexStream()
        self._pending: list[VertexEvent | Status | LogChunk | Warn] = []
        self._news = asyncio.Event()
        self._ended = False
        self.warnings = 0

    def now(self) -> int:
        """The time, in ns."""
        return self._now()

    def put(self, *items: VertexEvent | Status | LogChunk | Warn) -> None:
        """Publish soon. After the end nothing more is taken."""
        if self._ended:
            return
        for item in items:
            if isinstance(item, VertexEvent):
                self._pending.extend(self._vertices.take(item))
            else:
                self.warnings += isinstance(item, Warn)
                self._pending.append(item)
        self._news.set()

    def heard(self, statuses: Sequence[Status], logs: Sequence[LogChunk]) -> None:
        """Statuses and logs of vertices that only this build has."""
        self.put(*statuses, *logs)

    @asynccontextmanager
    async def step(self, digest: Digest, name: str) -> AsyncIterator[None]:
        """A vertex that is no op (resolving, exporting); it starts and ends with the body."""
        event = VertexEvent(digest=digest, name=name, started=self._now())
        self.put(event)
        try:
            yield
        except asyncio.CancelledError:
            self.put(replace(event, completed=self._now(), error=CANCELED))
            raise
        except Exception as error:
            self.put(replace(event, completed=self._now(), error=error_text(error)))
            raise
        self.put(replace(event, completed=self._now()))

    def steps(self) -> tuple[int, int, int]:
        """(cached, total, completed)."""
        return self._vertices.steps()

    async def pump(self) -> None:
        """Publish batches until cancelled."""
        while True:
            await self._news.wait()
            await self._flush()
            await asyncio.sleep(QUIET)

    async def end(self) -> None:
        """Complete what is open, publish the rest and the final mark. Idempotent."""
        if self._ended:
            return
        self._ended = True
        self._pending.extend(self._vertices.end(self._now()))
        await self._flush()
        await self._journal.append(self._build, BuildEvents(last=True))

    async def _flush(self) -> None:
        self._news.clear()
        items, self._pending = self._pending, []
        for batch in _batches(items):
            await self._journal.append(self._build, batch)


def _batches(items: Iterable[VertexEvent | Status | LogChunk | Warn]) -> Iterable[BuildEvents]:
    """In order, none larger than what the bus likes. A log chunk that is too large alone is cut."""
    group: list[VertexEvent | Status | LogChunk | Warn] = []
    size = 0
    for item in items:
        for piece in _cut(item):
            weight = _weight(piece)
            if group and (size + weight > BATCH_BYTES or len(group) >= BATCH_ITEMS):
                yield _batch(group)
                group, size = [], 0
            group.append(piece)
            size += weight
    if group:
        yield _batch(group)


def _cut(item: VertexEvent | Status | LogChunk | Warn) -> Iterable[VertexEvent | Status | LogChunk | Warn]:
    if isinstance(item, LogChunk) and len(item.data) > BATCH_BYTES:
        return [replace(item, data=item.data[i : i + BATCH_BYTES]) for i in range(0, len(item.data), BATCH_BYTES)]
    return (item,)


def _weight(item: VertexEvent | Status | LogChunk | Warn) -> int:
    match item:
        case LogChunk():
            return len(item.data) + 120
        case VertexEvent():
            return 200 + len(item.name) + len(item.error) + 75 * len(item.inputs)
        case Warn():
            return 300 + sum(map(len, item.detail)) + (len(item.info.data) if item.info else 0)
        case Status():
            return 250


def _batch(items: Sequence[VertexEvent | Status | LogChunk | Warn]) -> BuildEvents:
    return BuildEvents(
        vertices=tuple(i for i in items if isinstance(i, VertexEvent)),
        statuses=tuple(i for i in items if isinstance(i, Status)),
        logs=tuple(i for i in items if isinstance(i, LogChunk)),
        warnings=tuple(i for i in items if isinstance(i, Warn)),
    )


@dataclass(slots=True, eq=False)
class _Known:
    """What was said of a shared vertex so far."""

    last: VertexEvent
    builds: dict[str, None] = field(default_factory=dict)
    events: list[VertexEvent] = field(default_factory=list)
    statuses: dict[str, Status] = field(default_factory=dict)
    logs: list[LogChunk] = field(default_factory=list)
    log_bytes: int = 0


class Hub:
    """All shared vertices and the streams of the builds that need them."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._known: dict[str, _Known] = {}
        self._streams: dict[str, Stream] = {}

    def open(self, stream: Stream, build: str) -> None:
        """A build begins."""
        self._streams[build] = stream

    def close(self, build: str) -> None:
        """A build ended; it hears nothing more."""
        self._streams.pop(build, None)
        for known in self._known.values():
            known.builds.pop(build, None)

    def announce(self, build: str, vertex: Vertex) -> None:
        """From now on the build hears of the vertex; first what it missed."""
        known = self._known.get(vertex.digest)
        if known is None:
            known = self._known[vertex.digest] = _Known(_first_event(vertex))
            known.events.append(known.last)
        known.builds[build] = None
        if (stream := self._streams.get(build)) is not None:
            stream.put(*known.events, *known.statuses.values(), *known.logs)

    def forget(self, digest: str) -> None:
        """No build needs the vertex any more."""
        self._known.pop(digest, None)

    def progress(self, vertex: Vertex, *, completed: bool, cached: bool, error: BaseException | None) -> None:
        """Work on the vertex began or ended."""
        known = self._known.get(vertex.digest)
        if known is None:
            return
        now = self._now()
        if completed:
            event = replace(known.last, completed=now, started=known.last.started or now, cached=cached, error=error_text(error))
        else:
            event = replace(known.last, started=now, completed=0, cached=cached, error="")
        known.last = event
        known.events.append(event)
        self._spread(known, event)

    def heard(self, statuses: Sequence[Status], logs: Sequence[LogChunk]) -> None:
        """What an executor says of shared vertices; of unknown ones nobody could make sense."""
        for status in statuses:
            if (known := self._known.get(status.vertex)) is not None:
                known.statuses[status.id] = status
                self._spread(known, status)
        for chunk in logs:
            if (known := self._known.get(chunk.vertex)) is not None:
                if known.log_bytes < KEPT_LOG:
                    known.log_bytes += len(chunk.data)
                    known.logs.append(chunk)
                self._spread(known, chunk)

    def _spread(self, known: _Known, item: VertexEvent | Status | LogChunk) -> None:
        for build in known.builds:
            if (stream := self._streams.get(build)) is not None:
                stream.put(item)


def _first_event(vertex: Vertex) -> VertexEvent:
    inputs = dict.fromkeys(Digest(out.vertex.digest) for out in vertex.inputs)
    return VertexEvent(digest=Digest(vertex.digest), name=vertex.name, inputs=tuple(inputs), group=vertex.options.group)
