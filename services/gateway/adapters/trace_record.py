"""Spans of builds for the trace blob of the history record, which `buildx history trace` reads.

One JSON object per span, as Go encodes tracetest.SpanStub (BuildKit solver/llbsolver/history.go).
"""

import json
from collections import OrderedDict
from datetime import UTC, datetime
from typing import Any

from shared.telemetry import Span, parse_traceparent

MAX_TRACES = 64
MAX_SPANS = 4096
_NO_ID = {"trace": "0" * 32, "span": "0" * 16}


class SpanRecorder:
    """A sink of the tracer: keeps the spans of the traces it was told to record, up to 4096 each. Several builds may share one."""

    def __init__(self) -> None:
        self._traces: OrderedDict[str, list[Span]] = OrderedDict()
        self._builds: dict[str, int] = {}

    def record(self, trace_id: str) -> None:
        """From now on, until as many `take`. The oldest recording is given up when there are too many."""
        self._traces.setdefault(trace_id, [])
        self._builds[trace_id] = self._builds.get(trace_id, 0) + 1
        while len(self._traces) > MAX_TRACES:
            given_up, _ = self._traces.popitem(last=False)
            self._builds.pop(given_up, None)

    def __call__(self, span: Span) -> None:
        kept = self._traces.get(span.trace_id)
        if kept is not None and len(kept) < MAX_SPANS:
            kept.append(span)

    def take(self, trace_id: str) -> list[Span]:
        """What was recorded so far."""
        found = list(self._traces.get(trace_id, ()))
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
    """Indented JSON objects, one after the other."""
    return "".join(json.dumps(_stub(span), indent=2) + "\n" for span in spans).encode()


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
    return f"{datetime.fromtimestamp(ns // 10**9, UTC):%Y-%m-%dT%H:%M:%S}.{ns % 10**9:09d}Z"
