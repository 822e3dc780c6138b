"""The gaps that clients can't fill."""

from services.solver.core.vertex_stream import VertexStream
from shared.model import VertexEvent, sha256_digest

LOW, MIDDLE, TOP = (sha256_digest(name) for name in (b"low", b"middle", b"top"))


def seen(stream: VertexStream, *events: VertexEvent) -> list[VertexEvent]:
    return [out for event in events for out in stream.take(event)]


def test_inputs_that_nobody_started_are_cached_when_their_user_starts() -> None:
    """All the way down, before the user's own event."""
    stream = VertexStream()
    seen(
        stream,
        VertexEvent(digest=LOW, name="low"),
        VertexEvent(digest=MIDDLE, name="middle", inputs=(LOW,)),
        VertexEvent(digest=TOP, name="top", inputs=(MIDDLE,)),
    )
    out = stream.take(VertexEvent(digest=TOP, name="top", inputs=(MIDDLE,), started=5))
    assert [(e.name, e.cached, e.started, e.completed) for e in out] == [
        ("low", True, 5, 5),
        ("middle", True, 5, 5),
        ("top", False, 5, 0),
    ]


def test_inputs_that_ran_stay_what_they_are() -> None:
    """Nothing is said of them again."""
    stream = VertexStream()
    seen(stream, VertexEvent(digest=LOW, name="low", started=1, completed=2))
    assert len(stream.take(VertexEvent(digest=TOP, name="top", inputs=(LOW,), started=5))) == 1


def test_open_vertices_are_cancelled_at_the_end() -> None:
    """Started without completion; those that never started are left alone."""
    stream = VertexStream()
    seen(stream, VertexEvent(digest=LOW, name="low"), VertexEvent(digest=TOP, name="top", started=1))
    assert [(e.name, e.completed, e.error) for e in stream.end(9)] == [("top", 9, "context canceled")]


def test_steps_are_counted() -> None:
    """(cached, total, completed)."""
    stream = VertexStream()
    seen(
        stream,
        VertexEvent(digest=LOW, name="low", started=1, completed=1, cached=True),
        VertexEvent(digest=MIDDLE, name="middle", started=1, completed=2),
        VertexEvent(digest=TOP, name="top"),
    )
    assert stream.steps() == (1, 3, 2)
