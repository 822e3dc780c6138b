"""The loop that answers what the core asks."""

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from services.frontend.adapters.bridge import BridgeBuild
from services.frontend.adapters.driver import Driver
from services.frontend.adapters.failures import mesh_error
from services.frontend.core.context import Entrypoint
from services.frontend.core.dockerfile.linter import LintWarning
from services.frontend.core.failure import DockerfileError, line_spans
from services.frontend.core.requests import Asking, Inputs, Once, ReadFile, ResolveSource, Solve, SourceFacts, Together, Tree
from shared.errors import BuildFailed, CallLost, NotFound
from shared.llb import Definition, SourceMap, SourceOp
from shared.model import Digest


class PlayedBuild:
    """Answers at once, but for files named in `held`."""

    def __init__(self) -> None:
        self.reads: list[str] = []
        self.held: dict[str, asyncio.Event] = {}

    async def solve(self, request: Solve) -> Tree:
        return Tree(id="t")

    async def read_file(self, request: ReadFile) -> bytes:
        self.reads.append(request.path)
        if request.path in self.held:
            await self.held[request.path].wait()
        if request.path == "missing":
            raise NotFound("no such file")
        return request.path.encode()

    async def resolve_source(self, request: ResolveSource) -> SourceFacts:
        return SourceFacts(identifier=request.source.identifier)

    def inputs(self) -> Mapping[str, Definition]:
        return {"x": Definition()}

    async def warn(self, entrypoint: Entrypoint, warning: LintWarning) -> None: ...


def read(path: str) -> Asking[bytes]:
    data: bytes = yield ReadFile(tree=Tree(id="t"), path=path)
    return data


async def drive(asking: Asking[Any], build: PlayedBuild | None = None) -> Any:
    steps = 0

    async def count() -> None:
        nonlocal steps
        steps += 1

    with ThreadPoolExecutor(1) as pool:
        async with asyncio.timeout(10):
            return await Driver(build or PlayedBuild(), pool, count).run(asking)


async def test_each_request_gets_its_answer() -> None:
    def asking() -> Asking[list[Any]]:
        solved = yield Solve(definition=Definition())
        facts = yield ResolveSource(source=SourceOp(identifier="i"), log_name="l")
        inputs = yield Inputs()
        data = yield from read("f")
        return [solved, facts.identifier, list(inputs), data]

    assert await drive(asking()) == [Tree(id="t"), "i", ["x"], b"f"]


async def test_failures_are_raised_where_they_were_asked_for() -> None:
    def asking() -> Asking[str]:
        try:
            yield from read("missing")
        except DockerfileError as error:
            return f"{error.message} {type(error.cause).__name__}"
        return "read"

    assert await drive(asking()) == "no such file NotFound"


async def test_several_run_together_in_order() -> None:
    build = PlayedBuild()
    build.held["a"] = asyncio.Event()

    def release() -> Asking[bytes]:
        data = yield from read("b")
        build.held["a"].set()
        return data

    def asking() -> Asking[list[bytes]]:
        return (yield Together([read("a"), release()]))

    assert await drive(asking(), build) == [b"a", b"b"]


async def test_the_first_error_of_several_is_the_error() -> None:
    build = PlayedBuild()
    build.held["a"] = asyncio.Event()

    def asking() -> Asking[list[bytes]]:
        return (yield Together([read("a"), read("missing")]))

    with pytest.raises(DockerfileError, match="no such file"):
        await drive(asking(), build)


async def test_the_same_question_is_asked_once() -> None:
    build = PlayedBuild()

    def shared() -> Asking[bytes]:
        data: bytes = yield Once("key", read("f"))
        return data

    def asking() -> Asking[list[bytes]]:
        return (yield Together([shared(), shared(), shared()]))

    assert await drive(asking(), build) == [b"f", b"f", b"f"]
    assert build.reads == ["f"]


async def test_a_shared_failure_reaches_all() -> None:
    def one() -> Asking[str]:
        try:
            yield Once("key", read("missing"))
        except DockerfileError:
            return "failed"
        return "read"

    def asking() -> Asking[list[str]]:
        return (yield Together([one(), one()]))

    assert await drive(asking()) == ["failed", "failed"]


async def test_being_cancelled_closes_the_computation() -> None:
    build = PlayedBuild()
    build.held["a"] = asyncio.Event()
    closed = asyncio.Event()

    def asking() -> Asking[None]:
        try:
            yield from read("a")
        finally:
            closed.set()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await drive(asking(), build)
    assert closed.is_set()


def test_errors_keep_the_class_and_details_of_their_cause() -> None:
    source = SourceMap(filename="Dockerfile", language="Dockerfile", data=b"FROM x")
    entrypoint = Entrypoint(source_map=source, vertex=Digest("sha256:" + "0" * 64))
    error = DockerfileError("low", cause=CallLost("low")).at(line_spans(1, 1)).prefixed("high")

    found = mesh_error(error, entrypoint)

    assert isinstance(found, CallLost)
    assert (found.message, len(found.details)) == ("high: low", 1)
    assert isinstance(mesh_error(DockerfileError("x"), None), BuildFailed)
    assert BridgeBuild.__doc__
