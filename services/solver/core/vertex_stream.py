"""What one build says of its vertices: fills the gaps that clients can't fill (solver/progress.go vertexStream).

A vertex that nobody had to look at is cached when something that uses it starts; a vertex that is still open at the end of
the build was cancelled. Times are nanoseconds.
"""

from dataclasses import replace

from shared.model import Digest, VertexEvent

CANCELED = "context canceled"


class VertexStream:
    """The last event of each vertex of one build."""

    def __init__(self) -> None:
        self._last: dict[Digest, VertexEvent] = {}
        self._presumed: set[Digest] = set()
        self._cached: set[Digest] = set()
        self._completed: set[Digest] = set()

    def take(self, event: VertexEvent) -> list[VertexEvent]:
        """The events to publish for this one, in order."""
        out: list[VertexEvent] = []
        pending = [event]
        while pending:
            event = pending.pop()
            self._last[event.digest] = event
            out.append(event)
            if event.completed:
                self._completed.add(event.digest)
            if event.cached:
                self._cached.add(event.digest)
            if event.started:
                pending.extend(self._skipped_inputs(event))
        return out[::-1]

    def _skipped_inputs(self, event: VertexEvent) -> list[VertexEvent]:
        """Inputs that were never started, as cached from now on."""
        skipped = []
        for digest in event.inputs:
            last = self._last.get(digest)
            if last is not None and not last.cached and not last.completed and not last.started and digest not in self._presumed:
                self._presumed.add(digest)
                skipped.append(replace(last, cached=True, started=event.started, completed=event.started))
        return skipped

    def end(self, now: int) -> list[VertexEvent]:
        """Completions for whatever is still open."""
        out = []
        for digest, last in self._last.items():
            if last.started and not last.completed:
                error = last.error or ("" if digest in self._cached else CANCELED)
                out.append(replace(last, completed=now, error=error))
        for event in out:
            self._last[event.digest] = event
        return out

    def steps(self) -> tuple[int, int, int]:
        """(cached, total, completed) vertices, as a history record counts them."""
        return len(self._cached), len(self._last), len(self._completed)
