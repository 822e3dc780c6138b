"""Spans to an OpenTelemetry collector: OTLP over gRPC (default) or HTTP (specification: opentelemetry.io/docs/specs/otlp)."""

import asyncio
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.error import URLError

from shared.errors import InvalidInput
from shared.telemetry.exporters import Exporter, resource_of
from shared.telemetry.tracing import Attribute, Span

METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
SEND_SECONDS = 10.0
_PREFIX = "OTEL_EXPORTER_OTLP_"


def make_exporter(environment: Mapping[str, str]) -> Exporter:
    """By OTEL_EXPORTER_OTLP_[TRACES_]{PROTOCOL,ENDPOINT,HEADERS}. Raises InvalidInput for another protocol."""
    protocol = _setting(environment, "PROTOCOL") or "grpc"
    headers = dict(pair.split("=", 1) for pair in _setting(environment, "HEADERS").split(",") if "=" in pair)
    resource = resource_of(environment)
    match protocol:
        case "grpc":
            return GrpcExporter(_setting(environment, "ENDPOINT") or "http://localhost:4317", headers, resource)
        case "http/protobuf":
            own = environment.get(_PREFIX + "TRACES_ENDPOINT", "")
            shared = environment.get(_PREFIX + "ENDPOINT", "") or "http://localhost:4318"
            return HttpExporter(own or shared.rstrip("/") + "/v1/traces", headers, resource)
    raise InvalidInput(f"unsupported otlp protocol {protocol}")


def _setting(environment: Mapping[str, str], name: str) -> str:
    return environment.get(f"{_PREFIX}TRACES_{name}", "") or environment.get(_PREFIX + name, "")


class GrpcExporter:
    """See shared.telemetry.exporters.Exporter."""

    def __init__(self, endpoint: str, headers: Mapping[str, str], resource: Mapping[str, str]) -> None:
        self._endpoint, self._resource = endpoint, resource
        self._headers = tuple((key.strip().lower(), value.strip()) for key, value in headers.items())
        self._channel: Any = None
        self._call: Any = None

    def _open(self) -> Any:
        import grpc

        scheme, found, rest = self._endpoint.partition("://")
        target = (rest if found else scheme).rstrip("/")
        if scheme == "https":
            self._channel = grpc.aio.secure_channel(target, grpc.ssl_channel_credentials())
        else:
            self._channel = grpc.aio.insecure_channel(f"unix:{target}" if scheme == "unix" else target)
        self._call = self._channel.unary_unary(METHOD)
        return self._call

    async def send(self, spans: Sequence[Span]) -> None:
        import grpc

        call = self._call or self._open()
        try:
            await call(encode(spans, self._resource), metadata=self._headers, timeout=SEND_SECONDS)
        except grpc.RpcError as error:
            raise OSError(f"trace collector {self._endpoint}: {error}") from error

    async def close(self) -> None:
        if self._channel is not None:
            await self._channel.close()


class HttpExporter:
    """See shared.telemetry.exporters.Exporter."""

    def __init__(self, url: str, headers: Mapping[str, str], resource: Mapping[str, str]) -> None:
        self._url, self._resource = url, resource
        self._headers = {**headers, "Content-Type": "application/x-protobuf"}

    async def send(self, spans: Sequence[Span]) -> None:
        await asyncio.to_thread(self._post, encode(spans, self._resource))

    def _post(self, data: bytes) -> None:
        request = urllib.request.Request(self._url, data=data, headers=self._headers, method="POST")
        try:
            with urllib.request.urlopen(request, timeout=SEND_SECONDS):
                return
        except URLError as error:
            raise OSError(f"trace collector {self._url}: {error}") from error

    async def close(self) -> None:
        return None


def encode(spans: Sequence[Span], resource: Mapping[str, str]) -> bytes:
    """An ExportTraceServiceRequest, one resource per service."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    request = ExportTraceServiceRequest()
    by_service: dict[str, list[Span]] = {}
    for span in spans:
        by_service.setdefault(span.service, []).append(span)
    for service, members in by_service.items():
        group = request.resource_spans.add()
        _attributes(group.resource.attributes, {**resource, "service.name": service})
        scope = group.scope_spans.add()
        scope.scope.name = "buildmesh"
        for span in members:
            _fill(scope.spans.add(), span)
    data: bytes = request.SerializeToString()
    return data


def _fill(out: Any, span: Span) -> None:
    out.trace_id, out.span_id = bytes.fromhex(span.trace_id), bytes.fromhex(span.span_id)
    out.parent_span_id = bytes.fromhex(span.parent_id)
    out.name, out.kind = span.name, int(span.kind)
    out.start_time_unix_nano, out.end_time_unix_nano = span.start, span.end
    _attributes(out.attributes, span.attributes)
    for at, text in span.events:
        out.events.add(time_unix_nano=at, name=text)
    if span.error:
        out.status.code, out.status.message = 2, span.error


def _attributes(out: Any, values: Mapping[str, Attribute]) -> None:
    for key, value in values.items():
        into = out.add(key=key).value
        match value:
            case bool():
                into.bool_value = value
            case int():
                into.int_value = value
            case float():
                into.double_value = value
            case _:
                into.string_value = value
