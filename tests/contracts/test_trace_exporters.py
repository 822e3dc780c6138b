"""Spans arrive at a real Jaeger by every road: OTLP over gRPC and HTTP, thrift over UDP."""

import asyncio
import os
import time
from collections.abc import Callable

import pytest

from shared.telemetry.exporters import open_exporter
from shared.telemetry.tracing import SpanKind, Tracer
from tests.kit.parts.jaeger import Jaeger

ROADS: dict[str, Callable[[Jaeger], dict[str, str]]] = {
    "otlp grpc": lambda j: {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{j.otlp_grpc}"},
    "otlp http": lambda j: {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{j.otlp_http}", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"},
    "jaeger udp": lambda j: {"JAEGER_TRACE": j.udp},
}


@pytest.mark.slow
@pytest.mark.parametrize("road", list(ROADS))
async def test_a_trace_of_two_services_arrives(jaeger: Jaeger, road: str) -> None:
    names = [f"{kind}-{os.urandom(4).hex()}" for kind in ("gateway", "solver")]

    async with open_exporter(ROADS[road](jaeger)) as sinks:
        gateway, solver = (Tracer(name, sinks) for name in names)
        with gateway.span("Solve", "", kind=SpanKind.SERVER, attributes={"n": 1, "b": True, "f": 0.5, "s": "x"}) as above:
            with pytest.raises(ValueError, match="broken"), solver.span("edge", above.traceparent()) as below:
                below.event("went wrong")
                raise ValueError("broken")
            trace_id = above.trace_id

    found = None
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        found = await asyncio.to_thread(jaeger.trace, trace_id)
        if found is not None and len(found["spans"]) == 2:
            break
        await asyncio.sleep(0.2)

    assert found is not None
    spans = {span["operationName"]: span for span in found["spans"]}
    services = {found["processes"][span["processID"]]["serviceName"] for span in found["spans"]}
    tags = {tag["key"]: tag["value"] for tag in spans["Solve"]["tags"]}
    assert services == set(names)
    assert spans["edge"]["references"][0]["spanID"] == spans["Solve"]["spanID"]
    assert (tags["n"], tags["b"], tags["f"], tags["s"], tags["span.kind"]) == (1, True, 0.5, "x", "server")
    assert any(tag["key"] == "error" and tag["value"] is True for tag in spans["edge"]["tags"])


async def test_a_collector_that_is_away_costs_nothing() -> None:
    async with asyncio.timeout(8), open_exporter({"JAEGER_TRACE": "127.0.0.1:1", "OTEL_TRACES_EXPORTER": "jaeger"}) as sinks:
        with Tracer("x", sinks).span("y"):
            pass
