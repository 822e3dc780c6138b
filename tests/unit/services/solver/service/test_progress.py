"""Who hears what of a shared vertex, and in which pieces."""

from services.solver.core.vertex import Vertex
from services.solver.service.progress import BATCH_BYTES, Hub, Stream, error_text
from shared.errors import BuildFailed, Canceled
from shared.model import Digest, LogChunk, Status, VertexEvent, sha256_digest
from shared.wire.messages import BuildEvents

LOW, TOP = sha256_digest(b"low"), sha256_digest(b"top")


class Kept:
    """A journal in memory."""

    def __init__(self) -> None:
        self.batches: list[BuildEvents] = []

    async def append(self, build: str, events: BuildEvents) -> None:
        self.batches.append(events)

    def vertices(self) -> list[VertexEvent]:
        return [v for batch in self.batches for v in batch.vertices]


def clock() -> int:
    return 7


def vertex(digest: Digest, *inputs: Vertex) -> Vertex:
    from services.solver.core.vertex import Output

    return Vertex(digest, f"name of {digest[:12]}", tuple(Output(i) for i in inputs))


async def test_a_late_build_hears_what_was_said_before() -> None:
    """Events, the last of each status, logs; live things reach both."""
    hub, journals = Hub(clock), {"one": Kept(), "two": Kept()}
    streams = {name: Stream(name, journal, clock) for name, journal in journals.items()}
    low = vertex(LOW)
    hub.open(streams["one"], "one")
    hub.announce("one", low)
    hub.progress(low, completed=False, cached=False, error=None)
    hub.heard([Status(vertex=LOW, id="s", current=1)], [LogChunk(vertex=LOW, stream=1, data=b"early")])
    hub.heard([Status(vertex=LOW, id="s", current=2)], [])
    hub.open(streams["two"], "two")
    hub.announce("two", low)
    hub.progress(low, completed=True, cached=False, error=None)
    for stream in streams.values():
        await stream.end()
    assert [(v.started, v.completed) for v in journals["two"].vertices()] == [(0, 0), (7, 0), (7, 7)]
    assert [s.current for b in journals["two"].batches for s in b.statuses] == [2]
    assert b"".join(chunk.data for b in journals["two"].batches for chunk in b.logs) == b"early"
    assert [s.current for b in journals["one"].batches for s in b.statuses] == [1, 2]


async def test_statuses_of_unknown_vertices_are_dropped() -> None:
    """Nobody could show them."""
    hub, journal = Hub(clock), Kept()
    hub.open(Stream("one", journal, clock), "one")
    hub.heard([Status(vertex=TOP, id="x")], [LogChunk(vertex=TOP, stream=1, data=b"x")])
    assert journal.batches == []


async def test_large_logs_are_cut_to_what_the_bus_carries() -> None:
    """Nothing is lost, no batch is too large."""
    journal = Kept()
    stream = Stream("one", journal, clock)
    data = bytes(range(256)) * (BATCH_BYTES // 64)
    stream.put(LogChunk(vertex=LOW, stream=1, data=data), LogChunk(vertex=LOW, stream=2, data=b"end"))
    await stream.end()
    chunks = [chunk for batch in journal.batches for chunk in batch.logs]
    assert b"".join(chunk.data for chunk in chunks) == data + b"end"
    assert max(sum(len(chunk.data) for chunk in batch.logs) for batch in journal.batches) <= BATCH_BYTES
    assert journal.batches[-1].last


async def test_the_end_comes_once_and_nothing_after_it() -> None:
    """Late answers of cancelled calls are not published."""
    journal = Kept()
    stream = Stream("one", journal, clock)
    stream.put(VertexEvent(digest=LOW, name="low", started=1))
    await stream.end()
    stream.put(VertexEvent(digest=LOW, name="low", started=1, completed=2))
    await stream.end()
    assert [(v.started, v.completed, v.error) for v in journal.vertices()] == [(1, 0, ""), (1, 7, "context canceled")]
    assert [batch.last for batch in journal.batches] == [False, True]


def test_the_line_of_a_vertex_says_only_what_belongs_to_it() -> None:
    """Prefixes for the whole build are left away; cancelled is a fixed text."""
    assert error_text(BuildFailed('failed to compute cache key: "/x": not found')) == '"/x": not found'
    assert error_text(Canceled("whatever")) == "context canceled"
    assert error_text(None) == ""
