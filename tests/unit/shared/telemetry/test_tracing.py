"""Spans and trace context."""

import pytest

from shared.telemetry import Span, Tracer, build_of, parse_traceparent

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_nested_spans_share_a_trace() -> None:
    ended: list[Span] = []
    tracer = Tracer("gateway", (ended.append,))

    with tracer.span("outer") as outer, tracer.span("inner", attributes={"n": 1}) as inner:
        assert tracer.current() == inner.traceparent()

    assert tracer.current() == ""
    assert [s.name for s in ended] == ["inner", "outer"]
    assert (inner.trace_id, inner.parent_id, outer.parent_id) == (outer.trace_id, outer.span_id, "")
    assert (inner.service, inner.attributes) == ("gateway", {"n": 1})
    assert outer.start <= inner.start <= inner.end <= outer.end


def test_a_span_joins_the_callers_trace() -> None:
    with Tracer("solver").span("x", PARENT) as span:
        pass

    assert parse_traceparent(PARENT) == (span.trace_id, span.parent_id)
    assert parse_traceparent(span.traceparent()) == (span.trace_id, span.span_id)


def test_an_error_marks_the_span_and_goes_on() -> None:
    ended: list[Span] = []
    with pytest.raises(ValueError, match="broken"), Tracer("s", (ended.append,)).span("x"):
        raise ValueError("broken")

    assert ended[0].error == "broken"


@pytest.mark.parametrize(
    "text",
    ["", "00-x-y-01", PARENT.upper(), "ff" + PARENT[2:], "00-" + "0" * 32 + "-b7ad6b7169203331-01", PARENT[:-3], PARENT + "é"],
)
def test_malformed_parents_begin_a_new_trace(text: str) -> None:
    assert parse_traceparent(text) is None
    with Tracer("s").span("x", text) as span:
        assert span.parent_id == ""
        assert len(span.trace_id) == 32


def test_later_versions_may_say_more() -> None:
    assert parse_traceparent("01" + PARENT[2:] + "-more") is not None


def test_a_span_is_handed_over_once() -> None:
    ended: list[Span] = []
    tracer = Tracer("s")
    tracer.add_sink(ended.append)
    span = tracer.start("x", "", start=5)

    tracer.finish(span, end=9)
    tracer.finish(span)

    assert [(s.start, s.end) for s in ended] == [(5, 9)]


def test_events_are_bounded() -> None:
    span = Tracer("s").start("x", "")
    for i in range(1000):
        span.event(str(i))

    assert len(span.events) == 128


def test_a_build_goes_along_with_the_trace() -> None:
    gateway, solver = Tracer("gateway"), Tracer("solver")
    with gateway.span("Solve", PARENT):
        gateway.of_build("b-1.x")
        with gateway.span("inner") as inner:
            sent = gateway.current()
    with solver.span("SolveBuild", sent) as taken:
        pass

    assert (inner.build, taken.build) == ("b-1.x", "b-1.x")
    assert parse_traceparent(sent) == (taken.trace_id, taken.parent_id)


@pytest.mark.parametrize(
    "text", ["", PARENT, PARENT + ";build=", PARENT + ";build=a b", PARENT + ";build=" + "x" * 129, PARENT + ";build=é", ";"]
)
def test_what_can_be_no_build_is_none(text: str) -> None:
    assert build_of(text) == ""
    assert Tracer("s").start("x", text).build == ""
