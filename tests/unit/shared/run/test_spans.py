"""Spans over the bus: what is sent, in how many messages, and what a reader takes from strangers."""

import itertools
from dataclasses import replace

import pytest

from shared.bus.memory import MemoryBus
from shared.bus.ports import Subscription
from shared.errors import Unavailable
from shared.run.spans import MAX_ATTRIBUTES, MAX_BYTES, MAX_EVENTS, MAX_TEXT, BusSpans, spans_of
from shared.telemetry import Span, SpanKind
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.messages import EndedSpan, SpansEnded

ONE, OTHER = "ab" * 16, "cd" * 16
CODEC = Codec()
_IDS = (f"{number:016x}" for number in itertools.count(1))


def span(trace: str = ONE, **fields: object) -> Span:
    made = Span(trace_id=trace, span_id=next(_IDS), parent_id="9" * 16, name="n", service="buildmesh-solver", start=1, end=2)
    return replace(made, **fields)  # type: ignore[arg-type]


async def heard(told: Subscription, count: int) -> list[Span]:
    """The spans of as many messages as it takes; each within the bus's bounds."""
    found: list[Span] = []
    async for delivery in told:
        assert len(delivery.data) <= MAX_BYTES
        message = CODEC.decode(delivery.data).body
        found += spans_of(message)
        if len(found) >= count:
            break
    return found


async def test_a_span_arrives_as_it_was() -> None:
    sent = span(
        kind=SpanKind.SERVER,
        error="boom",
        attributes={"text": "x", "int": 3, "float": 0.5, "flag": True},
        events=[(5, "began"), (6, "ended")],
    )
    bus = MemoryBus()
    async with bus.subscribe(subjects.trace(ONE)) as told:
        await BusSpans(bus, CODEC).send([span(OTHER), sent])

        assert await heard(told, 1) == [sent]


async def test_many_spans_go_in_several_messages() -> None:
    sent = [span(attributes={f"k{n}": "x" * 200 for n in range(10)}) for _ in range(100)]
    bus = MemoryBus()
    async with bus.subscribe(subjects.trace(ONE)) as told:
        await BusSpans(bus, CODEC).send(sent)

        assert await heard(told, 100) == sent


async def test_what_is_too_large_is_cut_and_what_has_no_trace_is_left_out() -> None:
    large = span(name="n" * 9999, attributes={str(n): n for n in range(99)}, events=[(1, "e" * 9999)] * 99)
    bus = MemoryBus()
    async with bus.subscribe(subjects.trace(ONE)) as told:
        await BusSpans(bus, CODEC).send([span("not hex"), large])
        (found,) = await heard(told, 1)

    assert (len(found.name), len(found.attributes), len(found.events), len(found.events[0][1])) == (
        MAX_TEXT,
        MAX_ATTRIBUTES,
        MAX_EVENTS,
        MAX_TEXT,
    )


async def test_a_bus_that_is_away_is_an_oserror() -> None:
    """Which batching takes as: this batch is lost."""

    class Away(MemoryBus):
        async def publish(self, subject: str, data: bytes, **options: object) -> None:
            raise Unavailable("the bus is away")

    with pytest.raises(OSError, match="the bus is away"):
        await BusSpans(Away(), CODEC).send([span()])


GOOD = EndedSpan(span_id="1" * 16, service="s", start=1, end=2)


@pytest.mark.parametrize(
    "message",
    [
        SpansEnded(trace_id="../../x", spans=(GOOD,)),
        SpansEnded(trace_id=ONE, spans=(replace(GOOD, span_id="x"),)),
        SpansEnded(trace_id=ONE, spans=(replace(GOOD, parent_id="G" * 16),)),
        SpansEnded(trace_id=ONE, spans=(replace(GOOD, start=-1),)),
        SpansEnded(trace_id=ONE, spans=(replace(GOOD, end=1 << 63),)),
    ],
    ids=["trace", "span", "parent", "past", "future"],
)
def test_what_a_stranger_made_up_is_left_out(message: SpansEnded) -> None:
    assert list(spans_of(message)) == []


def test_an_unknown_kind_is_internal() -> None:
    (found,) = spans_of(SpansEnded(trace_id=ONE, spans=(replace(GOOD, kind=77),)))

    assert found.kind == SpanKind.INTERNAL
