"""The real buildctl against a gateway with scripted services behind it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.errors import BuildFailed, source_detail, vertex_detail
from shared.model import Digest, LogChunk, SourceInfo, SourcePosition, SourceRange, VertexEvent
from shared.wire.build import BridgeRef, BridgeResult, BridgeReturn, BridgeSolve, Done, SolveDone
from shared.wire.cache import DiskUsage, Prune, Pruned, PrunedBatch
from shared.wire.execute import UsageRecord, UsageReport
from shared.wire.failure import from_failure
from tests.kit.gateway_world import Build, World, gateway_world
from tests.kit.parts import program

A = Digest("sha256:" + "a" * 64)
RECORD = UsageRecord(id="rec1", size=2_500_000, created_at=1_700_000_000 * 10**9, description="a layer", usage_count=3)


async def prune(order: Prune, served: object) -> Pruned:
    await served.progress(PrunedBatch(records=(RECORD,)))  # type: ignore[attr-defined]
    return Pruned(freed=RECORD.size)


def usage(order: DiskUsage, served: object) -> UsageReport:
    return UsageReport(records=(RECORD,))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with gateway_world(tmp_path, cache={DiskUsage: usage, Prune: prune}) as found:
        yield found


async def buildctl(world: World, *arguments: str) -> tuple[int, str, str]:
    """Exit status, stdout and stderr."""
    process = await asyncio.create_subprocess_exec(
        program("buildctl"), "--addr", world.address, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(20):
        out, err = await process.communicate()
    return process.returncode or 0, out.decode(), err.decode()


def client_driven(result: BridgeResult | BuildFailed) -> object:
    """A solver that answers the client's Solve and waits for Return."""

    async def solver(build: Build) -> SolveDone:
        returned: asyncio.Future[BridgeReturn] = asyncio.get_running_loop().create_future()

        async def solve(request: BridgeSolve, served: object) -> BridgeResult:
            await build.say(
                vertices=(VertexEvent(digest=A, name="[1/1] RUN false", started=1),),
                logs=(LogChunk(vertex=A, stream=2, data=b"it went wrong\n", timestamp=2),),
            )
            if isinstance(result, BuildFailed):
                raise result
            return result

        async def give(request: BridgeReturn, served: object) -> Done:
            returned.set_result(request)
            return Done()

        async with build.bridge({BridgeSolve: solve, BridgeReturn: give}):
            found = await returned
        await build.say(last=True)
        if found.failure is not None:
            raise from_failure(found.failure)
        return SolveDone(exporter_response={"containerimage.digest": A})

    return solver


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("debug", "info"), "v0.32.2"),
        (("debug", "workers"), "worker1"),
        (("debug", "workers", "--filter", "labels.org.mobyproject.buildkit.worker.executor==oci", "-v"), "linux/amd64"),
        (("du",), "rec1"),
        (("du", "-v"), "a layer"),
        (("prune",), "rec1"),
        (("debug", "histories"), "REF"),
    ],
)
async def test_questions(world: World, arguments: tuple[str, ...], expected: str) -> None:
    """Each prints what the services said."""
    status, out, err = await buildctl(world, *arguments)

    assert (status, err) == (0, "")
    assert expected in out


async def test_a_build_and_its_traces_in_the_history(world: World, tmp_path: Path) -> None:
    """Progress on stderr, metadata in the file, a record afterwards, its log readable again."""
    world.solver = client_driven(BridgeResult(ref=BridgeRef(id="r1")))  # type: ignore[assignment]
    metadata = tmp_path / "metadata.json"
    status, _, err = await buildctl(
        world, "build", "--frontend", "dockerfile.v0", "--opt", "target=x", "--progress", "plain", "--metadata-file", str(metadata)
    )
    _, listed, _ = await buildctl(world, "debug", "histories")
    ref = world.seen[0].ref
    _, replayed, _ = await buildctl(world, "debug", "logs", ref)

    assert status == 0
    assert "[1/1] RUN false" in err
    assert A in metadata.read_text()
    assert f"COMPLETE\t{ref}" in listed
    assert "it went wrong" in replayed


async def test_a_failing_step_shows_the_line(world: World) -> None:
    """The client prints the excerpt from the Source detail, and the bare message."""
    where = SourceRange(start=SourcePosition(line=2), end=SourcePosition(line=2))
    info = SourceInfo(filename="Dockerfile", data=b"FROM busybox\nRUN false\n", language="Dockerfile")
    error = BuildFailed('process "/bin/sh -c false" did not complete successfully: exit code: 1')
    world.solver = client_driven(error.with_details(vertex_detail(A), source_detail(info, [where])))  # type: ignore[assignment, arg-type]
    status, _, err = await buildctl(world, "build", "--frontend", "dockerfile.v0", "--progress", "plain")

    assert status == 1
    assert "it went wrong" in err
    assert "   2 | >>> RUN false" in err
    assert 'error: failed to solve: process "/bin/sh -c false" did not complete successfully: exit code: 1' in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--allow", "network.host"), "granting entitlement network.host is not allowed by build daemon configuration"),
        (("--output", "type=nonsense"), 'exporter "nonsense" could not be found'),
        (("--export-cache", "type=nonsense"), 'unknown cache exporter: "nonsense"'),
    ],
)
async def test_refused_before_any_work(world: World, arguments: tuple[str, ...], text: str) -> None:
    """A clear error; no solver saw the build."""
    status, _, err = await buildctl(world, "build", "--frontend", "dockerfile.v0", *arguments)

    assert (status, world.seen) == (1, [])
    assert text in err
