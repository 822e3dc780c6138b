"""RunFrontend over the memory bus, the build's bridge played by the test."""

import asyncio
import json
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from services.frontend.service import FrontendService
from shared.bus.calls import Calls
from shared.bus.memory import MemoryBus
from shared.errors import BuildFailed, BuildmeshError, InvalidInput, NotFound, source_detail
from shared.llb import (
    Constraints,
    ExecOp,
    MarshalDefaults,
    SourceOp,
    decode_definition,
    decode_op,
    encode_definition,
    image_source,
    marshal,
)
from shared.model import Platform, SourceInfo
from shared.wire import subjects
from shared.wire.messages import (
    BridgeReadFile,
    BridgeRef,
    BridgeResolveSource,
    BridgeResult,
    BridgeRunImage,
    BridgeSolve,
    BridgeWarn,
    Done,
    FileData,
    RunFrontend,
    SourceMeta,
    Worker,
)

CONFIG = json.dumps(
    {"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"]}, "rootfs": {"type": "layers", "diff_ids": ["x"]}}
)
DIGEST = "sha256:" + "ab" * 32


@dataclass
class PlayedBridge:
    files: dict[str, bytes]
    solved: list[BridgeSolve] = field(default_factory=list)
    warned: list[BridgeWarn] = field(default_factory=list)

    def handlers(self) -> Any:
        return {
            BridgeSolve: self.solve,
            BridgeReadFile: self.read,
            BridgeResolveSource: self.resolve,
            BridgeWarn: self.warn,
        }

    def solve(self, request: BridgeSolve, served: object) -> BridgeResult:
        self.solved.append(request)
        return BridgeResult(ref=BridgeRef(id=f"ref{len(self.solved)}", definition=request.definition))

    def read(self, request: BridgeReadFile, served: object) -> FileData:
        if request.path not in self.files:
            raise NotFound(f"open {request.path}: no such file or directory")
        return FileData(data=self.files[request.path])

    def resolve(self, request: BridgeResolveSource, served: object) -> SourceMeta:
        return SourceMeta(source=request.source, image_digest=DIGEST, image_config=CONFIG.encode())

    def warn(self, request: BridgeWarn, served: object) -> Done:
        self.warned.append(request)
        return Done()


@asynccontextmanager
async def frontend(bridge: PlayedBridge, allowed: tuple[str, ...] = ()) -> AsyncIterator[Calls]:
    with ThreadPoolExecutor(1) as pool:
        async with Calls(MemoryBus()) as calls, asyncio.TaskGroup() as group:
            up = [asyncio.Event(), asyncio.Event()]
            service = FrontendService(calls, pool, allowed_images=allowed)
            served = [
                group.create_task(calls.serve("build.b.bridge", bridge.handlers(), ready=up[0].set)),
                group.create_task(calls.serve(subjects.FRONTEND, {RunFrontend: service.run_frontend}, ready=up[1].set)),
            ]
            for event in up:
                await event.wait()
            yield calls
            for task in served:
                task.cancel()


def request(opts: dict[str, str] | None = None, frontend: str = "dockerfile.v0") -> RunFrontend:
    workers = (Worker(id="w", platforms=(Platform(os="linux", architecture="amd64"),)),)
    return RunFrontend(build="b", bridge="build.b.bridge", frontend=frontend, opts=opts or {}, session="s", workers=workers)


async def run(bridge: PlayedBridge, asked: RunFrontend) -> BridgeResult:
    async with frontend(bridge) as calls, asyncio.timeout(10):
        result: BridgeResult = await calls.call(subjects.FRONTEND, asked)
        return result


async def failed(bridge: PlayedBridge, asked: RunFrontend, *, allowed: tuple[str, ...] = ()) -> BuildmeshError:
    async with frontend(bridge, allowed) as calls, asyncio.timeout(10):
        with pytest.raises(BuildmeshError) as caught:
            await calls.call(subjects.FRONTEND, asked)
        return caught.value


async def test_a_dockerfile_becomes_a_ref_with_its_image_config() -> None:
    bridge = PlayedBridge({"Dockerfile": b"FROM alpine\nRUN echo hi\n"})

    result = await run(bridge, request())

    assert result.ref is not None
    assert result.ref.id == f"ref{len(bridge.solved)}"
    assert json.loads(result.metadata["containerimage.config"])["history"][0]["created_by"] == "RUN /bin/sh -c echo hi # buildkit"
    names = [m.custom_name for m in decode_definition(result.ref.definition).metadata.values()]
    assert "[2/2] RUN echo hi" in names


async def test_several_platforms_give_a_ref_each() -> None:
    bridge = PlayedBridge({"Dockerfile": b"FROM alpine\n"})

    result = await run(bridge, request({"platform": "linux/amd64,linux/arm64"}))

    assert result.ref is None
    assert sorted(result.refs) == ["linux/amd64", "linux/arm64"]
    assert "containerimage.config/linux/arm64" in result.metadata


async def test_an_error_brings_the_place_in_the_dockerfile() -> None:
    bridge = PlayedBridge({"Dockerfile": b"FROM alpine\nRNU echo hi\n"})

    error = await failed(bridge, request())

    assert isinstance(error, BuildFailed)
    assert error.message == "dockerfile parse error on line 2: unknown instruction: RNU (did you mean RUN?)"
    detail = error.detail("errdefs.Source+json")
    assert detail is not None
    assert detail.json()["ranges"] == [{"start": {"line": 2, "character": 0}, "end": {"line": 2, "character": 0}}]
    assert len(detail.json()["info"]["definition"]["def"]) == 2, "the op that loaded the Dockerfile and the pointer to it"


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"\xff foo", "dockerfile parse error on line 2: unknown instruction: \ufffd"),
        (b"RUN \xff", "failed to marshal LLB definition: string field contains invalid UTF-8"),
    ],
)
async def test_bytes_that_are_no_text_are_an_error_and_no_more(line: bytes, says: str) -> None:
    error = await failed(PlayedBridge({"Dockerfile": b"FROM alpine\n" + line + b"\n"}), request())

    assert (type(error), error.message) == (BuildFailed, says)


async def test_a_missing_dockerfile_keeps_the_class_of_its_cause() -> None:
    error = await failed(PlayedBridge({}), request())

    assert isinstance(error, NotFound)
    assert error.message == "failed to read dockerfile: open Dockerfile: no such file or directory"


async def test_inputs_without_a_definition_are_refused() -> None:
    error = await failed(PlayedBridge({}), replace(request(), inputs={"context": b"", "dockerfile": b""}))

    assert error.message == "failed to get frontend inputs: invalid nil input definition to definition op"


async def test_lint_warnings_go_to_the_vertex_that_loaded_the_dockerfile() -> None:
    bridge = PlayedBridge({"Dockerfile": b"FROM alpine\nWORKDIR rel\n"})

    await run(bridge, request())

    assert [f.short for w in bridge.warned for f in w.findings] == [
        b'WorkdirRelativePath: Relative workdir "rel" can have unexpected results if the base image changes (line 2)'
    ]
    assert bridge.warned[0].digest in decode_definition(bridge.solved[0].definition).ops


async def test_the_official_syntax_image_is_served_by_the_builtin() -> None:
    bridge = PlayedBridge({"Dockerfile": b"# syntax=docker/dockerfile:1\nFROM alpine\n"})

    assert (await run(bridge, request())).ref is not None
    assert (await run(bridge, request({"source": "docker/dockerfile:1.7"}, frontend="gateway.v0"))).ref is not None


class OtherBridge(PlayedBridge):
    """Also runs other frontends: `outcome` is what they give."""

    outcome: BridgeResult | BuildmeshError = BridgeResult(metadata={"from": b"another"})

    def handlers(self) -> Any:
        return {**super().handlers(), BridgeRunImage: self.run_image}

    def solve(self, request: BridgeSolve, served: object) -> BridgeResult:
        if not request.frontend:
            return super().solve(request, served)
        self.solved.append(request)
        return self._outcome()

    def run_image(self, request: BridgeRunImage, served: object) -> BridgeResult:
        self.ran = request
        return self._outcome()

    def _outcome(self) -> BridgeResult:
        if isinstance(self.outcome, BuildmeshError):
            raise self.outcome
        return self.outcome


async def test_another_syntax_image_gets_everything_handed_on() -> None:
    bridge = OtherBridge({"Dockerfile": b"# syntax=example.com/mine some words\nanything\n"})

    more = encode_definition(
        marshal(image_source("x", Constraints()), MarshalDefaults(platform=Platform(os="linux", architecture="amd64")))
    )

    result = await run(bridge, replace(request({"target": "t"}), inputs={"more": more}))

    assert result.metadata == {"from": b"another"}
    asked = bridge.solved[-1]
    assert asked.frontend == "gateway.v0"
    assert asked.frontend_opts == {"target": "t", "cmdline": "example.com/mine some words", "source": "example.com/mine"}
    assert asked.frontend_inputs == {"more": more}


async def test_an_error_of_another_frontend_shows_the_syntax_line() -> None:
    bridge = OtherBridge({"Dockerfile": b"# syntax=example.com/mine\n"})
    bridge.outcome = NotFound("example.com/mine: not found")

    error = await failed(bridge, request())

    detail = error.detail("errdefs.Source+json")
    assert isinstance(error, NotFound)
    assert detail is not None and detail.json()["ranges"][0]["start"]["line"] == 1


async def test_an_error_that_has_a_place_keeps_just_that() -> None:
    bridge = OtherBridge({"Dockerfile": b"# syntax=example.com/mine\n"})
    place = source_detail(SourceInfo(filename="theirs", data=b"x"), ())
    bridge.outcome = BuildFailed("bad", details=[place])

    error = await failed(bridge, request())

    assert [d for d in error.details if d.type_url.endswith("Source+json")] == [place]


async def test_an_error_of_the_argument_syntax_names_it() -> None:
    bridge = OtherBridge({"Dockerfile": b"FROM x\n"})
    bridge.outcome = BuildFailed("bad")

    error = await failed(bridge, request({"build-arg:BUILDKIT_SYNTAX": "example.com/mine"}))

    assert error.message == "failed with build-arg:BUILDKIT_SYNTAX = example.com/mine: bad"


async def test_gateway_orders_the_process_of_the_image() -> None:
    bridge = OtherBridge({})
    source = {"source": "example.com/mine", "k": "v=w\nx"}

    await run(bridge, request(source, frontend="gateway.v0"))

    op = decode_op(bridge.ran.op).kind
    assert isinstance(op, ExecOp)
    assert op.meta.args == ("/run",)
    assert {"PATH=/bin", "BUILDKIT_FRONTEND_OPT_1=k=v=w\nx", "BUILDKIT_EXPORTEDPRODUCT=buildkit"} <= set(op.meta.env)
    (image,) = [decode_op(data).kind for data in decode_definition(bridge.solved[0].definition).data.values() if decode_op(data).kind]
    assert isinstance(image, SourceOp)
    assert image.identifier == f"docker-image://example.com/mine:latest@{DIGEST}"
    assert bridge.ran.ref == "ref1"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"frontend.caps": "moby.buildkit.frontend.contexts+forward"}, "unsupported frontend capability moby.buildkit.frontend.contexts"),
        ({"gateway-devel": "1"}, "development gateway is no longer supported"),
        (
            {"source": "Not An Image"},
            "invalid context name Not An Image: invalid reference format: repository name (library/Not An Image) must be lowercase",
        ),
    ],
)
async def test_what_an_image_can_not_do_is_refused(change: dict[str, str], says: str) -> None:
    error = await failed(OtherBridge({}), request({"source": "example.com/mine", **change}, frontend="gateway.v0"))

    assert error.message == says


async def test_gateway_needs_a_source() -> None:
    assert (await failed(OtherBridge({}), request(frontend="gateway.v0"))).message == "no source specified for gateway"


async def test_only_allowed_images_run() -> None:
    error = await failed(OtherBridge({}), request({"source": "example.com/mine"}, frontend="gateway.v0"), allowed=("example.com/yours",))

    assert error.message == "'example.com/mine' is not an allowed gateway source"


async def test_unknown_frontends_are_refused() -> None:
    assert isinstance(await failed(PlayedBridge({}), request(frontend="x")), InvalidInput)
