"""Finished spans on their way to the gateway that keeps the trace of a build."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class SpanEvent:
    """A moment within a span; `at` in ns since the epoch."""

    at: int
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedSpan:
    """One span (shared.telemetry.Span); its attributes by the type of their value. `kind` as OTLP numbers it."""

    span_id: str
    parent_id: str = ""
    service: str
    name: str = ""
    kind: int = 1
    start: int
    end: int
    error: str = ""
    texts: Mapping[str, str] = field(default_factory=dict)
    ints: Mapping[str, int] = field(default_factory=dict)
    floats: Mapping[str, float] = field(default_factory=dict)
    flags: Mapping[str, bool] = field(default_factory=dict)
    events: tuple[SpanEvent, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SpansEnded:
    """Spans of one trace (publish on `trace.<id>`); whoever records the trace listens."""

    trace_id: str
    spans: tuple[EndedSpan, ...]
