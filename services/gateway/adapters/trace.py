"""opentelemetry.proto.collector.trace.v1.TraceService: spans of clients join ours on their way to the collector."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from shared.errors import InvalidInput
from shared.rpc import Call, Handler
from shared.telemetry import Span, SpanKind, Tracer

EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
MAX_SPANS = 10_000
_MAX_TEXT = 4096


class Traces:
    """The servicer. Clients ignore its answers, so nothing here may cost a build anything."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def routes(self) -> Mapping[str, Handler]:
        """The one method."""
        return {EXPORT: self.export}

    async def export(self, call: Call) -> None:
        """Raises InvalidInput for what is no export request."""
        data = await call.recv_one()
        for span in read_spans(data):
            self._tracer.hand_over(span)
        await call.send(b"")


def read_spans(data: bytes) -> Iterator[Span]:
    """At most 10,000 of them; texts are cut at 4 KiB."""
    from google.protobuf.message import DecodeError
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest  # 20 ms, and rarely needed

    try:
        request = ExportTraceServiceRequest.FromString(data)
    except DecodeError:
        raise InvalidInput("request is not an ExportTraceServiceRequest") from None
    left = MAX_SPANS
    for resource in request.resource_spans:
        service = _attributes(resource.resource.attributes).get("service.name", "client")
        for scope in resource.scope_spans:
            for span in scope.spans[:left]:
                left -= 1
                yield _span(span, str(service))


def _span(span: Any, service: str) -> Span:
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        name=span.name[:_MAX_TEXT],
        service=service[:_MAX_TEXT],
        kind=SpanKind(span.kind) if span.kind in SpanKind._value2member_map_ else SpanKind.INTERNAL,
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        error=span.status.message[:_MAX_TEXT] or "error" if span.status.code == 2 else "",
        attributes=_attributes(span.attributes),
        events=[(e.time_unix_nano, e.name[:_MAX_TEXT]) for e in span.events[:128]],
    )


def _attributes(pairs: Iterable[Any]) -> dict[str, str | int | bool | float]:
    found: dict[str, str | int | bool | float] = {}
    for pair in pairs:
        match pair.value.WhichOneof("value"):
            case "string_value":
                found[pair.key[:_MAX_TEXT]] = pair.value.string_value[:_MAX_TEXT]
            case "int_value" | "bool_value" | "double_value" as kind:
                found[pair.key[:_MAX_TEXT]] = getattr(pair.value, kind)
    return found
