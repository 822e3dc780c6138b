"""Control over the front door, with a scripted solver behind it."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.errors import BuildFailed, BuildmeshError, Code, NotFound, source_detail, vertex_detail
from shared.model import Digest, LogChunk, SourceInfo, SourcePosition, SourceRange, VertexEvent
from shared.pb import control_pb2 as pb
from shared.rpc.client import CallOpener
from shared.wire.build import SolveDone
from shared.wire.cache import DiskUsage, Prune, Pruned, PrunedBatch
from shared.wire.execute import UsageRecord, UsageReport
from tests.kit.gateway_world import Build, World, gateway_world

CONTROL = "/moby.buildkit.v1.Control/"
A = Digest("sha256:" + "a" * 64)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as found:
        yield found


async def solve(client: CallOpener, ref: str, **fields: object) -> pb.SolveResponse:
    request = pb.SolveRequest(Ref=ref, **fields)  # type: ignore[arg-type]
    return pb.SolveResponse.FromString(await client.unary(CONTROL + "Solve", request.SerializeToString(), within=10))


async def status(client: CallOpener, ref: str) -> tuple[str, list[pb.StatusResponse]]:
    """The timestamp header and all messages."""
    async with await client.open(CONTROL + "Status") as call:
        await call.send(pb.StatusRequest(Ref=ref).SerializeToString())
        call.close_send()
        found = []
        while (message := await call.recv()) is not None:
            found.append(pb.StatusResponse.FromString(message))
        return dict(call.headers).get("buildkit-current-timestamp", ""), found


async def history(client: CallOpener, **fields: object) -> list[pb.BuildHistoryEvent]:
    async with await client.open(CONTROL + "ListenBuildHistory") as call:
        await call.send(pb.BuildHistoryRequest(EarlyExit=True, **fields).SerializeToString())  # type: ignore[arg-type]
        call.close_send()
        found = []
        while (message := await call.recv()) is not None:
            found.append(pb.BuildHistoryEvent.FromString(message))
        return found


async def test_info_and_workers(world: World) -> None:
    """What buildctl asks first."""
    async with world.client() as client:
        info = pb.InfoResponse.FromString(await client.unary(CONTROL + "Info", b"", within=5))
        workers = pb.ListWorkersResponse.FromString(await client.unary(CONTROL + "ListWorkers", b"", within=5))

    assert info.buildkitVersion.version.startswith("v0.32")
    assert [(w.ID, w.platforms[0].Architecture) for w in workers.record] == [("worker1", "amd64")]


async def test_status_before_solve_sees_everything_and_ends(world: World) -> None:
    """Status waits for the build; open vertices end as cancelled; EOF comes with the end of the build."""

    async def solver(build: Build) -> SolveDone:
        await build.say(vertices=(VertexEvent(digest=A, name="step", started=5),))
        await build.say(logs=(LogChunk(vertex=A, stream=1, data=b"hello", timestamp=6),), last=True)
        return SolveDone(exporter_response={"k": "v"})

    world.solver = solver
    async with world.client() as client, asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(status(client, "b1"))
        await asyncio.sleep(0)
        response = await solve(client, "b1", Frontend="dockerfile.v0", FrontendAttrs={"target": "x"})
    header, messages = watching.result()

    assert header.endswith("Z")
    assert dict(response.ExporterResponse) == {"k": "v"}
    assert b"".join(entry.msg for m in messages for entry in m.logs) == b"hello"
    assert [v.error for m in messages for v in m.vertexes if v.HasField("completed")] == ["context canceled"]
    assert (world.seen[0].frontend, world.seen[0].frontend_opts) == ("dockerfile.v0", {"target": "x"})


async def test_history_of_a_failed_build(world: World) -> None:
    """The record has the bare error, the blob its details, and Status replays the stored log."""

    async def solver(build: Build) -> SolveDone:
        await build.say(vertices=(VertexEvent(digest=A, name="step", started=5, completed=6, error="boom"),), last=True)
        where = source_detail(
            SourceInfo(filename="Dockerfile", data=b"FROM x"),
            [SourceRange(start=SourcePosition(line=1), end=SourcePosition(line=1))],
        )
        raise BuildFailed("boom").with_details(vertex_detail(A), where)

    world.solver = solver
    async with world.client() as client, asyncio.timeout(10):
        with pytest.raises(BuildmeshError) as caught:
            await solve(client, "b2")
        (event,) = await history(client, Ref="b2")
        _, replayed = await status(client, "b2")

    assert (caught.value.status_code, caught.value.message) == (Code.UNKNOWN, "boom")
    assert [d.type_url.rpartition(".")[2] for d in caught.value.details] == ["Vertex+json", "Source+json"]
    assert event.type == pb.COMPLETE
    assert (event.record.error.message, len(event.record.error.details), event.record.numTotalSteps) == ("boom", 0, 1)
    assert event.record.externalError.media_type == "application/vnd.googeapis.google.rpc.status+proto"
    assert [v.error for m in replayed for v in m.vertexes] == ["boom"]


async def test_leaving_solve_cancels_the_build(world: World) -> None:
    """The solver is cancelled, and the history says so."""
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def solver(build: Build) -> SolveDone:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        raise AssertionError

    world.solver = solver
    async with world.client() as client, asyncio.timeout(10):
        call = await client.open(CONTROL + "Solve")
        async with call:
            await call.send(pb.SolveRequest(Ref="b3").SerializeToString())
            await begun.wait()
        await cancelled.wait()
        async with await client.open(CONTROL + "ListenBuildHistory") as live:
            await live.send(pb.BuildHistoryRequest(Ref="b3").SerializeToString())
            events = [pb.BuildHistoryEvent.FromString(await live.recv() or b"")]
            if events[0].type == pb.STARTED:
                events.append(pb.BuildHistoryEvent.FromString(await live.recv() or b""))

    assert events[-1].record.error.message == "context canceled"


async def test_internal_builds_never_show(world: World) -> None:
    """Neither while they run nor afterwards."""
    seen: list[int] = []

    async def solver(build: Build) -> SolveDone:
        async with world.client() as other:
            seen.append(len(await history(other)))
        await build.say(last=True)
        return SolveDone()

    world.solver = solver
    async with world.client() as client, asyncio.timeout(10):
        await solve(client, "b4", Internal=True)
        seen.append(len(await history(client)))

    assert seen == [0, 0]


async def test_history_lifecycle(world: World) -> None:
    """Started, complete, pinned, deleted, as another listener hears it."""
    async with world.client() as client, asyncio.timeout(10):
        async with await client.open(CONTROL + "ListenBuildHistory") as live:
            await live.send(pb.BuildHistoryRequest().SerializeToString())
            await solve(client, "b5")
            for order in (pb.UpdateBuildHistoryRequest(Ref="b5", Pinned=True), pb.UpdateBuildHistoryRequest(Ref="b5", Delete=True)):
                await client.unary(CONTROL + "UpdateBuildHistory", order.SerializeToString(), within=5)
            events = [pb.BuildHistoryEvent.FromString(await live.recv() or b"") for _ in range(5)]
        after = await history(client)

    assert [(e.type, e.record.pinned, e.record.HasField("trace")) for e in events] == [
        (pb.STARTED, False, False),
        (pb.COMPLETE, False, False),
        (pb.COMPLETE, True, False),
        (pb.COMPLETE, True, True),
        (pb.DELETED, True, True),
    ]
    assert after == []


async def test_finalize_stores_the_trace(world: World) -> None:
    """At once, with the client's span and ours, in the form that buildx reads."""
    parent = f"00-{'01' * 16}-{'02' * 8}-01"
    async with world.client() as client, asyncio.timeout(10):
        request = pb.SolveRequest(Ref="b7").SerializeToString()
        await client.unary(CONTROL + "Solve", request, metadata=[("traceparent", parent)], within=10)
        await client.unary(
            CONTROL + "UpdateBuildHistory", pb.UpdateBuildHistoryRequest(Ref="b7", Finalize=True).SerializeToString(), within=5
        )
        (event,) = await history(client, Ref="b7")
    async with world.blobs.open(Digest(event.record.trace.digest)) as reader:
        span = json.loads(await reader.read_at(0, 1 << 20))

    assert event.record.trace.media_type == "application/vnd.buildkit.otlp.json.v0"
    assert event.record.Generation == 1
    assert (span["Name"], span["SpanContext"]["TraceID"], span["Parent"]["SpanID"]) == (
        "moby.buildkit.v1.Control/Solve",
        "01" * 16,
        "02" * 8,
    )


async def test_unknown_job(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the wait, NotFound with BuildKit's text."""
    monkeypatch.setattr("services.gateway.adapters.control.JOB_WITHIN", 0.05)
    async with world.client() as client, asyncio.timeout(10):
        with pytest.raises(NotFound, match="no such job nope"):
            await status(client, "nope")


async def test_an_active_ref_is_refused(world: World) -> None:
    """And the first build goes on."""
    go = asyncio.Event()

    async def solver(build: Build) -> SolveDone:
        await go.wait()
        await build.say(last=True)
        return SolveDone()

    world.solver = solver
    async with world.client() as client, asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        first = tasks.create_task(solve(client, "b6"))
        await world.begun.wait()
        with pytest.raises(BuildmeshError, match="job ID b6 exists"):
            await solve(client, "b6")
        go.set()
        await first


@pytest.mark.parametrize("ref", ["", "a/b", "a b", ">", "../x", "a\x00b"])
async def test_hostile_refs(world: World, ref: str) -> None:
    """Refused, and the gateway lives."""
    async with world.client() as client, asyncio.timeout(10):
        with pytest.raises(BuildmeshError):
            await solve(client, ref)
        with pytest.raises(BuildmeshError):
            await status(client, ref)
        await client.unary(CONTROL + "Info", b"", within=5)


async def test_usage_and_prune(tmp_path: Path) -> None:
    """Records pass through; an error of the cachestore reaches the client."""
    record = UsageRecord(id="r1", size=5, created_at=10**9, description="d")

    async def prune(order: Prune, served: object) -> Pruned:
        if order.filters:
            raise NotFound("no")
        await served.progress(PrunedBatch(records=(record,)))  # type: ignore[attr-defined]
        return Pruned(freed=5)

    def usage(order: DiskUsage, served: object) -> UsageReport:
        return UsageReport(records=(record,))

    async with gateway_world(tmp_path, cache={DiskUsage: usage, Prune: prune}) as world, world.client() as client, asyncio.timeout(10):
        used = pb.DiskUsageResponse.FromString(await client.unary(CONTROL + "DiskUsage", b"", within=5))
        async with await client.open(CONTROL + "Prune") as call:
            await call.send(b"")
            gone = pb.UsageRecord.FromString(await call.recv() or b"")
            assert await call.recv() is None
        async with await client.open(CONTROL + "Prune") as call:
            await call.send(pb.PruneRequest(filter=["x"]).SerializeToString())
            with pytest.raises(NotFound):
                await call.recv()

    assert (used.record[0].ID, gone.ID, gone.Size) == ("r1", "r1", 5)
