"""Spans of builds for the trace blob of the history record, which `buildx history trace` reads.

One JSON object per span, as Go encodes tracetest.SpanStub (BuildKit solver/llbsolver/history.go).
"""

import json
from collections import OrderedDict
from contextlib import suppress
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from shared.bus.ports import PubSub
from shared.errors import BuildmeshError, InvalidInput
from shared.run.spans import spans_of
from shared.telemetry import Span, parse_traceparent
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.spans import SpansEnded

MAX_TRACES = 64
MAX_SPANS = 4096
_NO_ID = {"trace": "0" * 32, "span": "0" * 16}


class SpanRecorder:
    """Keeps the spans of the traces it was told to record, up to 4096 each. Several builds may share one.

    It is a sink of the gateway's own tracer, and hears of what other services did over the bus.
    """

    def __init__(self) -> None:
        self._traces: OrderedDict[str, dict[str, Span]] = OrderedDict()
        self._builds: dict[str, int] = {}

    def record(self, trace_id: str) -> bool:
        """From now on, until as many `take`; True for the first. The oldest recording is given up when there are too many."""
        first = trace_id not in self._traces
        self._traces.setdefault(trace_id, {})
        self._builds[trace_id] = self._builds.get(trace_id, 0) + 1
        while len(self._traces) > MAX_TRACES:
            given_up, _ = self._traces.popitem(last=False)
            self._builds.pop(given_up, None)
        return first

    def __call__(self, span: Span) -> None:
        kept = self._traces.get(span.trace_id)
        if kept is not None and len(kept) < MAX_SPANS:
            kept.setdefault(span.span_id, span)

    def recording(self, trace_id: str) -> bool:
        """Whether somebody still wants this trace."""
        return trace_id in self._traces

    async def hear(self, bus: PubSub, codec: Codec, trace_id: str) -> None:
        """Record what other processes tell of a trace, until cancelled or given up; what is missed while the bus is away is missing."""
        with suppress(BuildmeshError):
            async with bus.subscribe(subjects.trace(trace_id)) as told:
                async for delivery in told:
                    if not self.recording(trace_id):
                        return
                    with suppress(InvalidInput):  # anybody may publish
                        message = codec.decode(delivery.data).body
                        if isinstance(message, SpansEnded) and message.trace_id == trace_id:
                            for span in spans_of(message):
                                self(span)

    def take(self, trace_id: str) -> list[Span]:
        """What was recorded so far."""
        found = list(self._traces.get(trace_id, {}).values())
        self._builds[trace_id] = self._builds.get(trace_id, 1) - 1
        if self._builds[trace_id] <= 0:
            self._traces.pop(trace_id, None)
            self._builds.pop(trace_id, None)
        return found


def trace_id_of(traceparent: str) -> str:
    """The trace that a span belongs to; empty outside of one."""
    parsed = parse_traceparent(traceparent)
    return parsed[0] if parsed is not None else ""


def encode_spans(spans: list[Span]) -> bytes:
    """JSON objects, a line each: BuildKit indents them, which costs Python ten times the time and tells a reader nothing."""
    return "".join(json.dumps(_stub(span)) + "\n" for span in spans).encode()


def _stub(span: Span) -> dict[str, Any]:
    return {
        "Name": span.name,
        "SpanContext": _context(span.trace_id, span.span_id),
        "Parent": _context(span.trace_id if span.parent_id else "", span.parent_id),
        "SpanKind": int(span.kind),
        "StartTime": _time(span.start),
        "EndTime": _time(span.end),
        "Attributes": [_attribute(key, value) for key, value in span.attributes.items()],
        "Events": [{"Name": text, "Attributes": None, "DroppedAttributeCount": 0, "Time": _time(when)} for when, text in span.events],
        "Links": None,
        "Status": {"Code": "Error" if span.error else "Unset", "Description": span.error},
        "DroppedAttributes": 0,
        "DroppedEvents": 0,
        "DroppedLinks": 0,
        "ChildSpanCount": 0,
        "Resource": [_attribute("service.name", span.service)],
        "InstrumentationLibrary": {"Name": "buildmesh", "Version": "", "SchemaURL": ""},
    }


def _context(trace_id: str, span_id: str) -> dict[str, Any]:
    return {
        "TraceID": trace_id or _NO_ID["trace"],
        "SpanID": span_id or _NO_ID["span"],
        "TraceFlags": "01" if span_id else "00",
        "TraceState": "",
        "Remote": False,
    }


def _attribute(key: str, value: object) -> dict[str, Any]:
    kind = {bool: "BOOL", int: "INT64", float: "FLOAT64"}.get(type(value), "STRING")
    return {"Key": key, "Value": {"Type": kind, "Value": value}}


def _time(ns: int) -> str:
    return f"{_second(ns // 10**9)}.{ns % 10**9:09d}Z"


@lru_cache(maxsize=64)
def _second(since_epoch: int) -> str:
    return f"{datetime.fromtimestamp(since_epoch, UTC):%Y-%m-%dT%H:%M:%S}"
