"""LLBBridge over the front door: routed by build id to a scripted solver."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from google.rpc import status_pb2

from shared.bridge.caps import LLB_CAPS
from shared.errors import BuildmeshError, InvalidInput, NotFound
from shared.pb import control_pb2, ops_pb2
from shared.pb import gateway_pb2 as pb
from shared.rpc.client import CallOpener
from shared.wire.build import (
    BridgeEvaluate,
    BridgeReadFile,
    BridgeRef,
    BridgeResolveSource,
    BridgeResult,
    BridgeReturn,
    BridgeSolve,
    BridgeStatFile,
    Done,
    FileData,
    FileStat,
    FileStats,
    SolveDone,
    SourceMeta,
)
from shared.wire.failure import from_failure
from tests.kit.gateway_world import Build, World, gateway_world

BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge/"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path) as found:
        yield found


async def ask(client: CallOpener, method: str, request: Any, answer: Any, *, build: str = "b1") -> Any:
    metadata = [("buildkit-controlapi-buildid", build)] if build else []
    data = await client.unary(BRIDGE + method, request.SerializeToString(), metadata=metadata, within=10)
    return answer.FromString(data)


class ClientBuild:
    """The solver of a client-driven build: remembers what it was asked, ends with Return."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.returned: asyncio.Future[BridgeReturn] = asyncio.get_running_loop().create_future()

    async def __call__(self, build: Build) -> SolveDone:
        answers = {
            BridgeSolve: BridgeResult(ref=BridgeRef(id="r1"), metadata={"k": b"v"}),
            BridgeResolveSource: SourceMeta(
                source=ops_pb2.SourceOp(identifier="docker-image://docker.io/library/x:latest").SerializeToString(),
                image_digest="sha256:" + "a" * 64,
                image_config=b"{}",
            ),
            BridgeReadFile: FileData(data=b"content"),
            BridgeStatFile: FileStats(entries=(FileStat(path="x", mode=0o644, size=7),)),
            BridgeEvaluate: Done(),
        }

        async def answer(request: Any, served: Any) -> Any:
            self.asked.append(request)
            if isinstance(request, BridgeReturn):
                self.returned.set_result(request)
                return Done()
            return answers[type(request)]

        async with build.bridge(dict.fromkeys((*answers, BridgeReturn), answer)):
            found = await self.returned
            await build.say(last=True)
        if found.failure is not None:
            raise from_failure(found.failure)
        return SolveDone(exporter_response={"done": "yes"})


async def begin(client: CallOpener, tasks: asyncio.TaskGroup) -> "asyncio.Task[bytes]":
    """A client build's Solve, in the background."""
    request = control_pb2.SolveRequest(Ref="b1").SerializeToString()
    return tasks.create_task(client.unary("/moby.buildkit.v1.Control/Solve", request, within=10))


async def test_a_client_driven_build(world: World) -> None:
    """Ping before Solve waits; calls reach the solver; Return ends the build."""
    world.solver = solver = ClientBuild()
    async with world.client() as client, asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        ping = tasks.create_task(ask(client, "Ping", pb.PingRequest(), pb.PongResponse))
        await asyncio.sleep(0)
        solving = await begin(client, tasks)
        solved = await ask(client, "Solve", pb.SolveRequest(Frontend="dockerfile.v0", allowResultReturn=True), pb.SolveResponse)
        data = await ask(client, "ReadFile", pb.ReadFileRequest(Ref="r1", FilePath="x"), pb.ReadFileResponse)
        stat = await ask(client, "StatFile", pb.StatFileRequest(Ref="r1", Path="x"), pb.StatFileResponse)
        await ask(client, "Evaluate", pb.EvaluateRequest(Ref="r1"), pb.EvaluateResponse)
        old = await ask(client, "ResolveImageConfig", pb.ResolveImageConfigRequest(Ref="x"), pb.ResolveImageConfigResponse)
        await ask(client, "Return", pb.ReturnRequest(result=pb.Result(ref=pb.Ref(id="r1"))), pb.ReturnResponse)
        response = control_pb2.SolveResponse.FromString(await solving)

    pong = ping.result()
    assert [c.ID for c in pong.LLBCaps if c.Enabled] == list(LLB_CAPS)
    assert pong.Workers[0].ID == "worker1"
    assert (solved.result.ref.id, solved.result.metadata["k"]) == ("r1", b"v")
    assert (data.Data, stat.stat.size) == (b"content", 7)
    assert (old.Ref, old.Config) == ("docker.io/library/x:latest", b"{}")
    assert dict(response.ExporterResponse) == {"done": "yes"}
    assert solver.returned.result().result == BridgeResult(ref=BridgeRef(id="r1"))


async def test_a_returned_error_fails_the_build_with_its_details(world: World) -> None:
    """Code and details are the client's."""
    world.solver = ClientBuild()
    error = status_pb2.Status(code=2, message="frontend says no")
    error.details.add(type_url="github.com/moby/buildkit/errdefs.Vertex+json", value=b'{"digest":"x"}')
    async with world.client() as client, asyncio.timeout(10):
        with pytest.raises(BuildmeshError, match="frontend says no") as caught:
            try:
                async with asyncio.TaskGroup() as tasks:
                    await begin(client, tasks)
                    await ask(client, "Return", pb.ReturnRequest(error=error), pb.ReturnResponse)
            except* BuildmeshError as group:
                raise group.exceptions[0] from None

    assert caught.value.details[0].json() == {"digest": "x"}


async def test_calls_end_with_their_build(world: World) -> None:
    """A call that the solver never answers does not outlive the build."""

    async def solver(build: Build) -> SolveDone:
        asked, done = asyncio.Event(), asyncio.Event()

        async def hang(request: Any, served: Any) -> Any:
            asked.set()
            await done.wait()

        async with build.bridge({BridgeEvaluate: hang}):
            await asked.wait()
            await build.say(last=True)
        return SolveDone()

    world.solver = solver
    async with world.client() as client, asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        solving = await begin(client, tasks)
        with pytest.raises(BuildmeshError):
            await ask(client, "Evaluate", pb.EvaluateRequest(Ref="r1"), pb.EvaluateResponse)
        await solving
        with pytest.raises(NotFound, match="no such job b1"):
            await ask(client, "Evaluate", pb.EvaluateRequest(Ref="r1"), pb.EvaluateResponse)


async def test_refused(world: World) -> None:
    """Each with a clear error; the gateway lives."""
    solver = ClientBuild()
    world.solver = solver
    async with world.client() as client, asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        solving = await begin(client, tasks)
        with pytest.raises(BuildmeshError, match="no buildid found in context"):
            await ask(client, "Evaluate", pb.EvaluateRequest(), pb.EvaluateResponse, build="")
        with pytest.raises(InvalidInput, match="invalid build id"):
            await ask(client, "Evaluate", pb.EvaluateRequest(), pb.EvaluateResponse, build="a/../b")
        with pytest.raises(InvalidInput, match="source is nil"):
            await ask(client, "ResolveSourceMeta", pb.ResolveSourceMetaRequest(), pb.ResolveSourceMetaResponse)
        with pytest.raises(InvalidInput, match="invalid range"):
            await ask(client, "ReadFile", pb.ReadFileRequest(Ref="r", Range=pb.FileRange(Offset=-1)), pb.ReadFileResponse)
        both = pb.SolveRequest(Frontend="x")
        getattr(both.Definition, "def").append(b"x")
        with pytest.raises(InvalidInput, match="both Definition and Frontend"):
            await ask(client, "Solve", both, pb.SolveResponse)
        with pytest.raises(InvalidInput, match="range without start"):
            await ask(client, "Warn", pb.WarnRequest(ranges=[ops_pb2.Range()]), pb.WarnResponse)
        with pytest.raises(InvalidInput, match="failed to parse IP nowhere"):
            wrong = pb.NewContainerRequest(extraHosts=[ops_pb2.HostIP(Host="x", IP="nowhere")])
            await ask(client, "NewContainer", wrong, pb.NewContainerResponse)
        solver.returned.set_result(BridgeReturn())
        await solving
