"""What a Status stream shows: events of a build in order, inferred states of inputs, and a proper end.

Behaviour: BuildKit solver/progress.go (vertex stream, encore) and client/status.go (splitting).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from shared.model import Digest, LogChunk, Status, VertexEvent, Warn

SPLIT_BYTES = 1 << 20
"""A message is closed once its log data passes this many bytes."""

_LOG_OVERHEAD = 128
CANCELED = "context canceled"

Event = VertexEvent | Status | LogChunk | Warn


@dataclass(slots=True, kw_only=True)
class Batch:
    """What one StatusResponse carries."""

    vertexes: list[VertexEvent] = field(default_factory=list)
    statuses: list[Status] = field(default_factory=list)
    logs: list[LogChunk] = field(default_factory=list)
    warnings: list[Warn] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.vertexes or self.statuses or self.logs or self.warnings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts for the history record."""

    total: int = 0
    cached: int = 0
    completed: int = 0
    warnings: int = 0


class StatusView:
    """One subscriber's view of one build."""

    def __init__(self) -> None:
        self._latest: dict[Digest, VertexEvent] = {}
        self._was_cached: set[Digest] = set()
        self._seen: dict[Digest, tuple[bool, bool]] = {}
        self._warnings = 0

    def feed(self, events: Iterable[Event]) -> Batch:
        """These events as one batch, sorted as clients expect."""
        batch = Batch()
        for event in events:
            match event:
                case VertexEvent():
                    batch.vertexes += self._vertex(event)
                case Status():
                    batch.statuses.append(event)
                case LogChunk():
                    batch.logs.append(event)
                case Warn():
                    batch.warnings.append(event)
        self._count(batch)
        batch.vertexes.sort(key=lambda v: v.started)
        batch.statuses.sort(key=lambda s: s.timestamp)
        batch.logs.sort(key=lambda entry: entry.timestamp)
        return batch

    def finish(self, *, now: int) -> Batch:
        """Completes every vertex that was left open; `now` in ns."""
        open_ = [v for v in self._latest.values() if v.started and not v.completed]
        batch = Batch(vertexes=[self._closed(v, now) for v in open_])
        self._count(batch)
        self._latest.clear()
        return batch

    def tally(self) -> Tally:
        """Counts over everything fed so far."""
        return Tally(
            total=len(self._seen),
            cached=sum(cached for cached, _ in self._seen.values()),
            completed=sum(completed for _, completed in self._seen.values()),
            warnings=self._warnings,
        )

    def _vertex(self, vertex: VertexEvent) -> list[VertexEvent]:
        out = [vertex]
        pending = [vertex]
        while pending:  # not recursive: a chain of inputs may be longer than Python's stack
            current = pending.pop()
            self._latest[current.digest] = current
            if current.started:
                inferred = [v for v in map(self._inferred(current.started), current.inputs) if v is not None]
                pending += inferred
                out += inferred
            if current.cached:
                self._mark_cached(current.digest)
        for inferred_vertex in out[1:]:
            self._latest.pop(inferred_vertex.digest, None)
        return out

    def _inferred(self, when: int) -> Callable[[Digest], VertexEvent | None]:
        """An input of something that started was there already: cached, though nobody said so."""

        def infer(digest: Digest) -> VertexEvent | None:
            known = self._latest.get(digest)
            if known is None or known.cached or known.completed:
                return None
            return replace(known, cached=True, started=when, completed=when)

        return infer

    def _mark_cached(self, digest: Digest) -> None:
        pending = [digest]
        while pending:
            current = pending.pop()
            known = self._latest.get(current)
            if known is None or current in self._was_cached:
                continue
            self._was_cached.add(current)
            pending += known.inputs

    def _closed(self, vertex: VertexEvent, now: int) -> VertexEvent:
        error = vertex.error or ("" if vertex.digest in self._was_cached else CANCELED)
        return replace(vertex, completed=now, error=error)

    def _count(self, batch: Batch) -> None:
        self._warnings += len(batch.warnings)
        for vertex in batch.vertexes:
            cached, completed = self._seen.get(vertex.digest, (False, False))
            self._seen[vertex.digest] = (cached or vertex.cached, completed or bool(vertex.completed))


def split(batch: Batch, *, limit: int = SPLIT_BYTES) -> Iterator[Batch]:
    """The batch in messages of about `limit` bytes of log data; everything else goes into the first one."""
    part = Batch(vertexes=batch.vertexes, statuses=batch.statuses, warnings=batch.warnings)
    size = 0
    for entry in batch.logs:
        for piece in _pieces(entry, limit):
            part.logs.append(piece)
            size += len(piece.data) + _LOG_OVERHEAD
            if size >= limit:
                yield part
                part, size = Batch(), 0
    if part:
        yield part


def _pieces(entry: LogChunk, limit: int) -> Iterator[LogChunk]:
    if len(entry.data) <= limit:
        yield entry
        return
    for start in range(0, len(entry.data), limit):
        yield replace(entry, data=entry.data[start : start + limit])
