"""Spans over the bus: every process publishes what has ended, a batch of a trace at a time, and the gateway that runs the build listens.

So the trace in a build's record (`buildx history trace`) holds what all services did, with or without a collector. A courtesy:
batches are bounded, nothing is kept for listeners that come later, and what is lost costs a build nothing.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from shared.bus.ports import PubSub
from shared.errors import BuildmeshError
from shared.telemetry import Span, SpanKind
from shared.telemetry.tracing import Attribute
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.spans import EndedSpan, SpanEvent, SpansEnded

__all__ = ["INTERVAL", "BusSpans", "spans_of"]

INTERVAL: Final = 0.2
"""Seconds between two batches of a process."""
MAX_BYTES: Final = 60_000
"""Of one message: the bus carries 64 KiB."""
MAX_ATTRIBUTES, MAX_EVENTS, MAX_NAME, MAX_TEXT = 32, 32, 256, 1024

_TRACE = re.compile(r"[0-9a-f]{32}")
_SPAN = re.compile(r"[0-9a-f]{16}")


class BusSpans:
    """Sends finished spans (shared.telemetry.exporters.Exporter) to whoever records their trace."""

    def __init__(self, bus: PubSub, codec: Codec) -> None:
        self._bus, self._codec = bus, codec

    async def send(self, spans: Sequence[Span]) -> None:
        """One message per trace, several when they are many. Raises OSError when the bus is away."""
        by_trace: dict[str, list[EndedSpan]] = defaultdict(list)
        for span in spans:
            if _TRACE.fullmatch(span.trace_id):
                by_trace[span.trace_id].append(_ended(span))
        try:
            for trace_id, ended in by_trace.items():
                for data in self._messages(trace_id, ended):
                    await self._bus.publish(subjects.trace(trace_id), data)
        except BuildmeshError as error:
            raise OSError(str(error)) from error

    async def close(self) -> None:
        """The bus is closed by whoever opened it."""

    def _messages(self, trace_id: str, ended: list[EndedSpan]) -> Iterator[bytes]:
        data = self._codec.encode(SpansEnded(trace_id=trace_id, spans=tuple(ended)))
        if len(data) <= MAX_BYTES:
            yield data
        elif len(ended) > 1:
            half = len(ended) // 2
            yield from self._messages(trace_id, ended[:half])
            yield from self._messages(trace_id, ended[half:])


def _ended(span: Span) -> EndedSpan:
    attributes = list(span.attributes.items())[:MAX_ATTRIBUTES]
    return EndedSpan(
        span_id=span.span_id,
        parent_id=span.parent_id,
        name=span.name[:MAX_TEXT],
        service=span.service[:MAX_NAME],
        kind=int(span.kind),
        start=span.start,
        end=span.end,
        error=span.error[:MAX_TEXT],
        texts={key[:MAX_NAME]: value[:MAX_TEXT] for key, value in attributes if isinstance(value, str)},
        ints={key[:MAX_NAME]: value for key, value in attributes if type(value) is int},
        floats={key[:MAX_NAME]: value for key, value in attributes if isinstance(value, float)},
        flags={key[:MAX_NAME]: value for key, value in attributes if isinstance(value, bool)},
        events=tuple(SpanEvent(at=at, text=text[:MAX_TEXT]) for at, text in span.events[:MAX_EVENTS]),
    )


def spans_of(message: SpansEnded) -> Iterator[Span]:
    """What a message tells; whoever can publish may have written it, so what is out of bounds is left out or cut."""
    if not _TRACE.fullmatch(message.trace_id):
        return
    for span in message.spans:
        if not _SPAN.fullmatch(span.span_id) or (span.parent_id and not _SPAN.fullmatch(span.parent_id)):
            continue
        if min(span.start, span.end) < 0 or max(span.start, span.end) >= 1 << 63:
            continue
        attributes: dict[str, Attribute] = {**span.texts, **span.ints, **span.floats, **span.flags}
        yield Span(
            trace_id=message.trace_id,
            span_id=span.span_id,
            parent_id=span.parent_id,
            name=span.name[:MAX_TEXT],
            service=span.service[:MAX_NAME],
            kind=SpanKind(span.kind) if span.kind in SpanKind._value2member_map_ else SpanKind.INTERNAL,
            start=span.start,
            end=span.end,
            error=span.error[:MAX_TEXT],
            attributes=dict(list(attributes.items())[:MAX_ATTRIBUTES]),
            events=[(event.at, event.text[:MAX_TEXT]) for event in span.events[:MAX_EVENTS]],
        )
