"""Recording spans, and their stored form."""

import asyncio
import itertools
import json

from services.gateway.adapters.trace_record import MAX_SPANS, MAX_TRACES, SpanRecorder, encode_spans, trace_id_of
from shared.bus.memory import MemoryBus
from shared.run.spans import BusSpans
from shared.telemetry import Span
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.messages import Done, SpansEnded

_IDS = (f"{number:016x}" for number in itertools.count(1))
TRACE = "ab" * 16
CODEC = Codec()


def span(trace: str, name: str = "n", **fields: object) -> Span:
    return Span(trace_id=trace, span_id=next(_IDS), name=name, start=1, end=2, **fields)  # type: ignore[arg-type]


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


def test_a_span_that_comes_twice_is_kept_once() -> None:
    """The gateway's own spans come back to it over the bus."""
    recorder, own = SpanRecorder(), span("a")
    recorder.record("a")
    recorder(own)
    recorder(own)

    assert recorder.take("a") == [own]


async def test_what_other_services_did_is_heard() -> None:
    """Of the recorded trace only, and whatever else is published there does no harm."""
    bus, recorder = MemoryBus(), SpanRecorder()
    assert [recorder.record(TRACE), recorder.record(TRACE)] == [True, False]
    theirs = [span(TRACE, service="buildmesh-solver", attributes={"n": 1}), span("cd" * 16)]
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        hearing = tasks.create_task(recorder.hear(bus, CODEC, TRACE))
        while not recorder.take(TRACE):
            recorder.record(TRACE)
            await bus.publish(subjects.trace(TRACE), b"\xc1")
            await bus.publish(subjects.trace(TRACE), CODEC.encode(Done()))
            await bus.publish(subjects.trace(TRACE), CODEC.encode(SpansEnded(trace_id="cd" * 16, spans=())))
            await BusSpans(bus, CODEC).send(theirs)
            await asyncio.sleep(0)
        hearing.cancel()

    assert recorder.take(TRACE) == theirs[:1]


async def test_hearing_ends_when_the_trace_is_given_up() -> None:
    bus, recorder = MemoryBus(), SpanRecorder()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        hearing = tasks.create_task(recorder.hear(bus, CODEC, TRACE))
        while not hearing.done():
            await BusSpans(bus, CODEC).send([span(TRACE)])
            await asyncio.sleep(0)


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
    """One object per span, with Go's names for kinds of values."""
    stub = json.loads(encode_spans([span("a" * 32, attributes={"s": "x", "i": 1, "b": True, "f": 0.5}, error="boom")]))

    assert [a["Value"]["Type"] for a in stub["Attributes"]] == ["STRING", "INT64", "BOOL", "FLOAT64"]
    assert stub["Status"] == {"Code": "Error", "Description": "boom"}
    assert stub["StartTime"] == "1970-01-01T00:00:00.000000001Z"
    assert stub["Parent"]["SpanID"] == "0" * 16


def test_trace_id() -> None:
    """Of a traceparent, empty for anything else."""
    assert trace_id_of(f"00-{'ab' * 16}-{'cd' * 8}-01") == "ab" * 16
    assert trace_id_of("") == trace_id_of("nonsense") == ""
