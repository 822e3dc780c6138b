"""Spans and the W3C trace context (https://www.w3.org/TR/trace-context/), in house so that nothing is imported for it."""

import os
import re
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from enum import IntEnum
from types import TracebackType

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_BUILD = re.compile(r";build=([A-Za-z0-9_.-]{1,128})")
_current: ContextVar["Span | None"] = ContextVar("span", default=None)

Attribute = str | int | bool | float
MAX_EVENTS = 128


class SpanKind(IntEnum):
    """Numbers as in OTLP."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


@dataclass(slots=True, kw_only=True)
class Span:
    """One span; times in ns since the epoch, `end` 0 while it runs, `error` "" = it went well. Ids in lower-case hex.

    `build`: the ref of the build that it is a part of, "" = none. Spans below it have the same.
    """

    trace_id: str
    span_id: str
    parent_id: str = ""
    name: str
    service: str = ""
    kind: SpanKind = SpanKind.INTERNAL
    start: int = 0
    end: int = 0
    error: str = ""
    attributes: dict[str, Attribute] = field(default_factory=dict)
    events: list[tuple[int, str]] = field(default_factory=list)
    build: str = ""

    def traceparent(self) -> str:
        """The header that makes others children of this span."""
        return f"00-{self.trace_id}-{self.span_id}-01"

    def context(self) -> str:
        """What goes over the bus: the header, and which build it is about."""
        return f"{self.traceparent()};build={self.build}" if self.build else self.traceparent()

    def set(self, **attributes: Attribute) -> None:
        """Add attributes; names with dots by `**{"a.b": 1}`."""
        self.attributes.update(attributes)

    def event(self, text: str) -> None:
        """Note a moment; beyond 128 they are dropped."""
        if len(self.events) < MAX_EVENTS:
            self.events.append((time.time_ns(), text))


Sink = Callable[[Span], None]


def parse_traceparent(text: str) -> tuple[str, str] | None:
    """(trace id, span id) of a header or a context, None when it is malformed or all zero."""
    match = _TRACEPARENT.fullmatch(text.partition(";")[0])
    if match is None or match[1] == "0" * 32 or match[2] == "0" * 16 or text.startswith("ff"):
        return None
    return match[1], match[2]


def build_of(context: str) -> str:
    """The build ref in a context, "" when there is none, or what can't be one: contexts are written by whoever can publish."""
    match = _BUILD.fullmatch(context, min(max(context.find(";"), 0), len(context)))
    return match[1] if match is not None else ""


class _Entered:
    """The context manager of one span; a class because generators cost more."""

    __slots__ = ("_span", "_token", "_tracer")

    def __init__(self, tracer: "Tracer", span: Span) -> None:
        self._tracer, self._span = tracer, span
        self._token: Token[Span | None] | None = None

    def __enter__(self) -> Span:
        self._token = _current.set(self._span)
        return self._span

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._token is not None:
            _current.reset(self._token)
        if error is not None and not self._span.error:
            self._span.error = str(error) or type(error).__name__
        self._tracer.finish(self._span)


class Tracer:
    """Makes spans and hands the finished ones to its sinks (an exporter, the recorder of build histories)."""

    def __init__(self, service: str, sinks: tuple[Sink, ...] = ()) -> None:
        self._service = service
        self._sinks = list(sinks)

    def add_sink(self, sink: Sink) -> None:
        """`sink` gets every span that ends from now on. It must be quick and never raise."""
        self._sinks.append(sink)

    def current(self) -> str:
        """The context of the running span, "" outside of one."""
        span = _current.get()
        return "" if span is None else span.context()

    def of_build(self, ref: str) -> None:
        """The running span and all that will come of it belong to this build."""
        if (span := _current.get()) is not None:
            span.build = ref
            span.set(build=ref)

    def start(
        self,
        name: str,
        parent: str | None = None,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Attribute] | None = None,
        start: int = 0,
    ) -> Span:
        """A span to be ended by `finish`, not the current one. `parent`: a context, None = the running span, "" = a new trace."""
        above = _current.get() if parent is None else None
        ids = (above.trace_id, above.span_id) if above is not None else parse_traceparent(parent or "")
        trace_id, parent_id = ids if ids is not None else (os.urandom(16).hex(), "")
        return Span(
            trace_id=trace_id,
            span_id=os.urandom(8).hex(),
            parent_id=parent_id,
            name=name,
            service=self._service,
            kind=kind,
            start=start or time.time_ns(),
            build=above.build if above is not None else build_of(parent or ""),
            attributes=dict(attributes) if attributes else {},
        )

    def finish(self, span: Span, *, end: int = 0) -> None:
        """End it now (or at `end`) and hand it over. Once only."""
        if span.end:
            return
        span.end = end or time.time_ns()
        for sink in self._sinks:
            sink(span)

    def hand_over(self, span: Span) -> None:
        """Give a span that somebody else made and ended (a client) to the sinks."""
        for sink in self._sinks:
            sink(span)

    def span(
        self,
        name: str,
        parent: str | None = None,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Mapping[str, Attribute] | None = None,
    ) -> _Entered:
        """`with tracer.span("solve") as span:` the body runs as its child; an exception that leaves it marks the span."""
        return _Entered(self, self.start(name, parent, kind=kind, attributes=attributes))
