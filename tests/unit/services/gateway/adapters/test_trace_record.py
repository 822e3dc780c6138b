"""Recording spans, and their stored form."""

import json

from services.gateway.adapters.trace_record import MAX_SPANS, MAX_TRACES, SpanRecorder, encode_spans, trace_id_of
from shared.telemetry import Span


def span(trace: str, name: str = "n", **fields: object) -> Span:
    return Span(trace_id=trace, span_id="2" * 16, name=name, start=1, end=2, **fields)  # type: ignore[arg-type]


def test_only_wanted_traces_are_kept_and_for_each_build_of_a_trace() -> None:
    """Two builds of one bake share a trace; both get it."""
    recorder = SpanRecorder()
    recorder.record("a")
    recorder.record("a")
    recorder(span("a", "one"))
    recorder(span("b", "other"))

    assert [s.name for s in recorder.take("a")] == ["one"]
    recorder(span("a", "two"))
    assert [s.name for s in recorder.take("a")] == ["one", "two"]
    recorder(span("a", "late"))
    assert recorder.take("a") == []


def test_memory_is_bounded() -> None:
    """Spans of a trace, and traces."""
    recorder = SpanRecorder()
    recorder.record("a")
    for _ in range(MAX_SPANS + 10):
        recorder(span("a"))
    assert len(recorder.take("a")) == MAX_SPANS
    for number in range(MAX_TRACES + 5):
        recorder.record(str(number))
    recorder(span("0"))
    recorder(span("10"))
    assert (recorder.take("0"), len(recorder.take("10"))) == ([], 1)


def test_stored_form() -> None:
    """One indented object per span, with Go's names for kinds of values."""
    stub = json.loads(encode_spans([span("a" * 32, attributes={"s": "x", "i": 1, "b": True, "f": 0.5}, error="boom")]))

    assert [a["Value"]["Type"] for a in stub["Attributes"]] == ["STRING", "INT64", "BOOL", "FLOAT64"]
    assert stub["Status"] == {"Code": "Error", "Description": "boom"}
    assert stub["StartTime"] == "1970-01-01T00:00:00.000000001Z"
    assert stub["Parent"]["SpanID"] == "0" * 16


def test_trace_id() -> None:
    """Of a traceparent, empty for anything else."""
    assert trace_id_of(f"00-{'ab' * 16}-{'cd' * 8}-01") == "ab" * 16
    assert trace_id_of("") == trace_id_of("nonsense") == ""
