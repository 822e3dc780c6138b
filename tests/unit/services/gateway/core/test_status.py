"""Status views: inference about inputs, the end of open vertices, splitting."""

from services.gateway.core.status import Batch, StatusView, Tally, split
from shared.model import Digest, LogChunk, VertexEvent, Warn

A, B, C = (Digest("sha256:" + c * 64) for c in "abc")


def vertex(digest: Digest, **fields: object) -> VertexEvent:
    return VertexEvent(digest=digest, name=digest[-1], **fields)  # type: ignore[arg-type]


def test_inputs_of_a_started_vertex_are_cached() -> None:
    """Somebody used them, so they were there, through the whole chain."""
    view = StatusView()
    view.feed([vertex(A), vertex(B, inputs=(A,)), vertex(C, inputs=(B,))])
    batch = view.feed([vertex(C, inputs=(B,), started=5)])

    assert {(v.digest, v.cached, v.completed) for v in batch.vertexes} == {(A, True, 5), (B, True, 5), (C, False, 0)}
    assert view.tally() == Tally(total=3, cached=2, completed=2)


def test_a_long_chain_does_not_exhaust_the_stack() -> None:
    """Ten thousand inputs in a row."""
    digests = [Digest(f"sha256:{i:064x}") for i in range(10_000)]
    chain = [vertex(d, inputs=(digests[i - 1],) if i else ()) for i, d in enumerate(digests)]
    view = StatusView()
    view.feed(chain)

    assert len(view.feed([vertex(digests[-1], inputs=(digests[-2],), started=1)]).vertexes) == 10_000


def test_open_vertices_end_canceled() -> None:
    """Completed ones and never started ones are left alone."""
    view = StatusView()
    view.feed([vertex(A, started=1), vertex(B, started=1, completed=2), vertex(C)])

    assert [(v.digest, v.completed, v.error) for v in view.finish(now=9).vertexes] == [(A, 9, "context canceled")]
    assert not view.finish(now=10)


def test_a_cached_vertex_left_open_has_no_error() -> None:
    """It was marked cached, so its end is not a cancellation."""
    view = StatusView()
    view.feed([vertex(A, started=1, cached=True)])

    assert view.finish(now=9).vertexes[0].error == ""


def test_batches_are_sorted_by_time() -> None:
    """Vertices by start, not yet started ones first."""
    batch = StatusView().feed([vertex(A, started=7), vertex(B, started=3), vertex(C)])

    assert [v.digest for v in batch.vertexes] == [C, B, A]


def test_split_keeps_all_log_bytes_in_order_below_the_limit() -> None:
    """Everything else travels in the first part."""
    logs = [LogChunk(vertex=A, stream=1, data=bytes([i]) * 700, timestamp=i) for i in range(5)]
    logs.append(LogChunk(vertex=A, stream=1, data=b"x" * 5000, timestamp=9))
    warning = Warn(vertex=A, level=1, short=b"w")
    parts = list(split(Batch(vertexes=[vertex(A)], logs=logs, warnings=[warning]), limit=1000))

    assert b"".join(entry.data for p in parts for entry in p.logs) == b"".join(entry.data for entry in logs)
    assert max(sum(len(entry.data) for entry in p.logs) for p in parts) <= 2000
    assert [len(p.vertexes) for p in parts] == [1] + [0] * (len(parts) - 1)
    assert sum(len(p.warnings) for p in parts) == 1


def test_an_empty_batch_sends_nothing() -> None:
    """No empty messages."""
    assert list(split(Batch())) == []
