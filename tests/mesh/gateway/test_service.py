"""The other services on the front door, as real gRPC clients use them."""

import asyncio
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest

from shared.errors import BuildmeshError, InvalidInput, NotFound
from shared.model import Digest, VertexEvent
from shared.pb import content_pb2, control_pb2, health_pb2, reflection_v1_pb2
from shared.wire.build import SolveDone
from tests.kit.gateway_world import Build, World, gateway_world

CONTENT = "/containerd.services.content.v1.Content/"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as found:
        yield found


async def test_content_is_readable(world: World) -> None:
    """Whole, in part, and with clear errors."""
    digest = await world.blobs.put(b"0123456789")
    async with world.client() as client, asyncio.timeout(10):
        info = content_pb2.InfoResponse.FromString(
            await client.unary(CONTENT + "Info", content_pb2.InfoRequest(digest=digest).SerializeToString(), within=5)
        )
        parts = []
        for offset, size in ((0, 0), (2, 3), (9, 0)):
            async with await client.open(CONTENT + "Read") as call:
                await call.send(content_pb2.ReadContentRequest(digest=digest, offset=offset, size=size).SerializeToString())
                parts.append(content_pb2.ReadContentResponse.FromString(await call.recv() or b"").data)
        for bad, error in (("sha256:x", InvalidInput), ("sha256:" + "0" * 64, NotFound)):
            with pytest.raises(error):
                await client.unary(CONTENT + "Info", content_pb2.InfoRequest(digest=bad).SerializeToString(), within=5)
        with pytest.raises(BuildmeshError, match="read-only content store"):
            await client.unary(CONTENT + "Delete", content_pb2.DeleteContentRequest(digest=digest).SerializeToString(), within=5)

    assert info.info.size == 10
    assert parts == [b"0123456789", b"234", b"9"]


async def test_the_log_blob_has_the_documented_form(world: World) -> None:
    """Length-prefixed StatusResponses, readable through Content."""

    async def solver(build: Build) -> SolveDone:
        await build.say(vertices=(VertexEvent(digest=Digest("sha256:" + "a" * 64), name="step", started=1, completed=2),), last=True)
        return SolveDone()

    world.solver = solver
    async with world.client() as client, asyncio.timeout(10):
        await client.unary("/moby.buildkit.v1.Control/Solve", control_pb2.SolveRequest(Ref="b1").SerializeToString(), within=5)
        async with await client.open("/moby.buildkit.v1.Control/ListenBuildHistory") as call:
            await call.send(control_pb2.BuildHistoryRequest(EarlyExit=True).SerializeToString())
            record = control_pb2.BuildHistoryEvent.FromString(await call.recv() or b"").record
    async with world.blobs.open(record.logs.digest) as reader:  # type: ignore[arg-type]
        blob = await reader.read_at(0, 1 << 20)

    assert record.logs.media_type == "application/vnd.buildkit.status.v0"
    assert len(blob) == record.logs.size == 4 + struct.unpack_from("<I", blob)[0]
    assert control_pb2.StatusResponse.FromString(blob[4:]).vertexes[0].name == "step"


async def test_grpcio_asks_for_health_and_reflection(world: World) -> None:
    """A stock client finds SERVING, the services, and a file for each symbol with all it imports."""
    async with grpc.aio.insecure_channel(world.address) as channel, asyncio.timeout(10):
        check = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
            response_deserializer=health_pb2.HealthCheckResponse.FromString,
        )
        serving = await check(health_pb2.HealthCheckRequest())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await check(health_pb2.HealthCheckRequest(service="x"))
        reflect = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_v1_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_v1_pb2.ServerReflectionResponse.FromString,
        )
        questions = [
            reflection_v1_pb2.ServerReflectionRequest(list_services=""),
            reflection_v1_pb2.ServerReflectionRequest(file_containing_symbol="moby.buildkit.v1.Control"),
            reflection_v1_pb2.ServerReflectionRequest(file_containing_symbol="no.such.Thing"),
        ]
        listed, found, missing = [answer async for answer in reflect(iter(questions))]

    assert serving.status == health_pb2.HealthCheckResponse.SERVING
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert "moby.buildkit.v1.frontend.LLBBridge" in {s.name for s in listed.list_services_response.service}
    assert len(found.file_descriptor_response.file_descriptor_proto) >= 5
    assert missing.error_response.error_code == 5


async def test_client_spans_join_ours(world: World) -> None:
    """What a client exports goes where our spans go; server spans are children of the client's."""
    from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

    request = trace_service_pb2.ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "buildctl"
    resource.scope_spans.add().spans.add(name="build", trace_id=b"\x01" * 16, span_id=b"\x02" * 8, end_time_unix_nano=5)
    async with world.client() as client, asyncio.timeout(10):
        export = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
        assert await client.unary(export, request.SerializeToString(), within=5) == b""
        parent = f"00-{'01' * 16}-{'02' * 8}-01"
        await client.unary("/moby.buildkit.v1.Control/Info", b"", metadata=[("traceparent", parent)], within=5)
        with pytest.raises(InvalidInput):
            await client.unary(export, b"\xff", within=5)

    assert [(s.service, s.name, s.trace_id, s.parent_id) for s in world.spans] == [
        ("buildctl", "build", "01" * 16, ""),
        ("gateway", "moby.buildkit.v1.Control/Info", "01" * 16, "02" * 8),
    ]


async def test_draining_lets_a_running_build_end(tmp_path: Path) -> None:
    """New connections are refused, the build in flight gets its answer."""
    go = asyncio.Event()

    async def solver(build: Build) -> SolveDone:
        await go.wait()
        await build.say(last=True)
        return SolveDone(exporter_response={"k": "v"})

    async with gateway_world(tmp_path) as world, world.client() as client, asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        world.solver = solver
        request = control_pb2.SolveRequest(Ref="b1").SerializeToString()
        solving = tasks.create_task(client.unary("/moby.buildkit.v1.Control/Solve", request, within=10))
        await world.begun.wait()
        world.readiness.draining.set()
        await asyncio.sleep(0)
        go.set()
        response = control_pb2.SolveResponse.FromString(await solving)

    assert dict(response.ExporterResponse) == {"k": "v"}
