"""Spans to Jaeger as BuildKit's JAEGER_TRACE does: thrift over UDP to an agent (`host:port`), or over HTTP to a collector (a URL)."""

import asyncio
import socket
import urllib.request
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from shared.errors import InvalidInput
from shared.telemetry.exporters import resource_of
from shared.telemetry.thrift import Fields, Kind, binary, compact_call
from shared.telemetry.tracing import Attribute, Span, SpanKind

AGENT = ("localhost", 6831)
AT_ONCE = 50  # spans of one datagram, less when that is too large
MAX_PACKET = 65_000
SEND_SECONDS = 10.0
_SIGNED = 1 << 63
_BOOL, _DOUBLE, _I32, _I64, _STRING, _STRUCT, _LIST = (
    Kind.BOOL,
    Kind.DOUBLE,
    Kind.I32,
    Kind.I64,
    Kind.STRING,
    Kind.STRUCT,
    Kind.LIST,
)


class JaegerExporter:
    """See shared.telemetry.exporters.Exporter."""

    def __init__(self, target: tuple[str, int] | str, resource: Mapping[str, str]) -> None:
        self._target, self._resource = target, resource

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "JaegerExporter":
        """JAEGER_TRACE, else OTEL_EXPORTER_JAEGER_ENDPOINT (a URL), else …_AGENT_HOST and …_AGENT_PORT."""
        text = environment.get("JAEGER_TRACE") or environment.get("OTEL_EXPORTER_JAEGER_ENDPOINT", "")
        host = environment.get("OTEL_EXPORTER_JAEGER_AGENT_HOST") or environment.get("OTEL_EXPORTER_JAEGER_HOST") or AGENT[0]
        port = environment.get("OTEL_EXPORTER_JAEGER_AGENT_PORT") or environment.get("OTEL_EXPORTER_JAEGER_PORT") or str(AGENT[1])
        return cls(_target(text or f"{host}:{port}"), resource_of(environment))

    async def send(self, spans: Sequence[Span]) -> None:
        await asyncio.to_thread(self._send, spans)

    def _send(self, spans: Sequence[Span]) -> None:
        by_service: dict[str, list[Span]] = {}
        for span in spans:
            by_service.setdefault(span.service, []).append(span)
        for service, members in by_service.items():
            for at in range(0, len(members), AT_ONCE):
                self._emit(service, members[at : at + AT_ONCE])

    def _emit(self, service: str, spans: Sequence[Span]) -> None:
        batch = [(1, _STRUCT, [(1, _STRING, service), (2, _LIST, _tags(self._resource))]), (2, _LIST, [_fields(s) for s in spans])]
        if isinstance(self._target, str):
            self._post(self._target, binary(batch))
            return
        packet = compact_call("emitBatch", [(1, _STRUCT, batch)])
        if len(packet) > MAX_PACKET and len(spans) > 1:
            half = len(spans) // 2
            self._emit(service, spans[:half])
            self._emit(service, spans[half:])
        elif len(packet) <= MAX_PACKET:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as agent:
                agent.sendto(packet, self._target)

    def _post(self, url: str, data: bytes) -> None:
        request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/x-thrift"}, method="POST")
        with urllib.request.urlopen(request, timeout=SEND_SECONDS):
            return

    async def close(self) -> None:
        return None


def _target(text: str) -> tuple[str, int] | str:
    if text.startswith(("http://", "https://")):
        return text if urlsplit(text).path.strip("/") else text.rstrip("/") + "/api/traces"
    host, _, port = text.rpartition(":")
    if not port.isdigit():
        raise InvalidInput(f"JAEGER_TRACE {text!r}: want host:port or a URL")
    return host or AGENT[0], int(port)


def _fields(span: Span) -> Fields:
    """jaeger.thrift Span."""
    tags = {**span.attributes}
    if span.error:
        tags |= {"error": True, "otel.status_description": span.error}
    if span.kind is not SpanKind.INTERNAL:
        tags["span.kind"] = span.kind.name.lower()
    return [
        (1, _I64, _signed(span.trace_id[16:])),
        (2, _I64, _signed(span.trace_id[:16])),
        (3, _I64, _signed(span.span_id)),
        (4, _I64, _signed(span.parent_id or "0")),
        (5, _STRING, span.name),
        (7, _I32, 1),
        (8, _I64, span.start // 1000),
        (9, _I64, (span.end - span.start) // 1000),
        (10, _LIST, _tags(tags)),
        (11, _LIST, [[(1, _I64, at // 1000), (2, _LIST, _tags({"message": text}))] for at, text in span.events]),
    ]


def _signed(digits: str) -> int:
    number = int(digits, 16)
    return number - 2 * _SIGNED if number >= _SIGNED else number


def _tags(values: Mapping[str, Attribute]) -> list[Fields]:
    """jaeger.thrift Tag: key, kind (0 text, 1 double, 2 bool, 3 integer), and the value in a field of its own."""
    tags: list[Fields] = []
    for key, value in values.items():
        match value:
            case bool():
                tags.append([(1, _STRING, key), (2, _I32, 2), (5, _BOOL, value)])
            case int():
                tags.append([(1, _STRING, key), (2, _I32, 3), (6, _I64, value)])
            case float():
                tags.append([(1, _STRING, key), (2, _I32, 1), (4, _DOUBLE, value)])
            case _:
                tags.append([(1, _STRING, key), (2, _I32, 0), (3, _STRING, value)])
    return tags
