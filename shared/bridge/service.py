"""moby.buildkit.v1.frontend.LLBBridge: each call goes to the build that its caller drives."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from shared.bridge import codec
from shared.bridge.processes import Processes
from shared.errors import BuildFailed, InvalidInput, Unsupported
from shared.model import Platform
from shared.pb import gateway_pb2 as pb
from shared.rpc import Call, Handler, error_of, unary
from shared.rpc.status import Status, unpack_details
from shared.session.landing import Landing
from shared.wire.build import (
    BridgeDefinitions,
    BridgeEvaluate,
    BridgeInputs,
    BridgeReadDir,
    BridgeReadFile,
    BridgeResult,
    BridgeReturn,
    BridgeStatFile,
    FileData,
    FileStats,
    SourceMeta,
)
from shared.wire.containers import BridgeReleaseContainer
from shared.wire.failure import Failure, to_failure

SERVICE = "/moby.buildkit.v1.frontend.LLBBridge/"


class WorkerFacts(Protocol):
    """A worker as Ping tells of it; the native platform first."""

    @property
    def id(self) -> str: ...

    @property
    def labels(self) -> Mapping[str, str]: ...

    @property
    def platforms(self) -> tuple[Platform, ...]: ...


class Driven(Protocol):
    """The builds that callers drive."""

    async def workers(self, call: Call) -> Sequence[WorkerFacts]:
        """Answers once the build of the call is there: clients send Ping together with Solve. Raises NotFound."""
        ...

    async def ask(self, call: Call, message: Any) -> Any:
        """The answer of the build to a bridge message (docs/bus.md). Raises its failure, NotFound when the build is over."""
        ...

    def landing(self) -> AbstractAsyncContextManager[Landing]:
        """A place where an executor of the build can open a stream."""
        ...


class Bridge:
    """The servicer."""

    def __init__(self, driven: Driven) -> None:
        self._driven = driven

    def routes(self) -> Mapping[str, Handler]:
        """Every method."""
        return {
            SERVICE + "Ping": unary(self.ping, pb.PingRequest),
            SERVICE + "Solve": unary(self.solve, pb.SolveRequest),
            SERVICE + "ResolveSourceMeta": unary(self.resolve_source_meta, pb.ResolveSourceMetaRequest),
            SERVICE + "ResolveImageConfig": unary(self.resolve_image_config, pb.ResolveImageConfigRequest),
            SERVICE + "ReadFile": unary(self.read_file, pb.ReadFileRequest),
            SERVICE + "ReadDir": unary(self.read_dir, pb.ReadDirRequest),
            SERVICE + "StatFile": unary(self.stat_file, pb.StatFileRequest),
            SERVICE + "Evaluate": unary(self.evaluate, pb.EvaluateRequest),
            SERVICE + "Inputs": unary(self.inputs, pb.InputsRequest),
            SERVICE + "Warn": unary(self.warn, pb.WarnRequest),
            SERVICE + "Return": unary(self.return_, pb.ReturnRequest),
            SERVICE + "NewContainer": unary(self.new_container, pb.NewContainerRequest),
            SERVICE + "ReleaseContainer": unary(self.release_container, pb.ReleaseContainerRequest),
            SERVICE + "ExecProcess": self.exec_process,
            SERVICE + "ReadFileContainer": unary(self.read_file_container, pb.ReadFileRequest),
            SERVICE + "ReadDirContainer": unary(self.read_dir_container, pb.ReadDirRequest),
            SERVICE + "StatFileContainer": unary(self.stat_file_container, pb.StatFileRequest),
        }

    async def ping(self, request: pb.PingRequest, call: Call) -> pb.PongResponse:
        """Blocks until the build is there: clients send it together with Solve."""
        from shared.bridge.caps import FRONTEND_CAPS, LLB_CAPS  # with all of shared.llb: not before a build asks

        workers = await self._driven.workers(call)
        return pb.PongResponse(
            FrontendAPICaps=codec.caps_message(FRONTEND_CAPS),
            LLBCaps=codec.caps_message(LLB_CAPS),
            Workers=[codec.worker_record(w.id, w.labels, w.platforms) for w in workers],
        )

    async def solve(self, request: pb.SolveRequest, call: Call) -> pb.SolveResponse:
        """Lazy unless Evaluate. `Final` is of clients older than Return and does both."""
        result: BridgeResult = await self._driven.ask(call, codec.read_solve(request))
        if request.Final:
            await self._driven.ask(call, BridgeReturn(result=result))
        if request.allowResultReturn:
            return pb.SolveResponse(result=codec.result_message(result))
        if result.refs:
            raise Unsupported("the client can't receive several refs")
        return pb.SolveResponse(ref=result.ref.id if result.ref else "")

    async def resolve_source_meta(self, request: pb.ResolveSourceMetaRequest, call: Call) -> pb.ResolveSourceMetaResponse:
        """What a source is right now."""
        meta: SourceMeta = await self._driven.ask(call, codec.read_resolve(request))
        return codec.source_meta_message(meta)

    async def resolve_image_config(self, request: pb.ResolveImageConfigRequest, call: Call) -> pb.ResolveImageConfigResponse:
        """The older form for images."""
        meta: SourceMeta = await self._driven.ask(call, codec.read_image_config(request))
        return codec.image_config_message(meta, request.Ref)

    async def read_file(self, request: pb.ReadFileRequest, call: Call) -> pb.ReadFileResponse:
        """Of a result. Raises InvalidInput for a negative range."""
        return await self._read_file(request, call, mount=-1)

    async def read_dir(self, request: pb.ReadDirRequest, call: Call) -> pb.ReadDirResponse:
        """Direct children."""
        return await self._read_dir(request, call, mount=-1)

    async def stat_file(self, request: pb.StatFileRequest, call: Call) -> pb.StatFileResponse:
        """One entry."""
        return await self._stat_file(request, call, mount=-1)

    async def read_file_container(self, request: pb.ReadFileRequest, call: Call) -> pb.ReadFileResponse:
        """Of a mount of a container, as it is now; the same below."""
        return await self._read_file(request, call, mount=_mount(request.MountIndex))

    async def read_dir_container(self, request: pb.ReadDirRequest, call: Call) -> pb.ReadDirResponse:
        return await self._read_dir(request, call, mount=_mount(request.MountIndex))

    async def stat_file_container(self, request: pb.StatFileRequest, call: Call) -> pb.StatFileResponse:
        return await self._stat_file(request, call, mount=_mount(request.MountIndex))

    async def _read_file(self, request: pb.ReadFileRequest, call: Call, *, mount: int) -> pb.ReadFileResponse:
        offset, length = request.Range.Offset, request.Range.Length
        if offset < 0 or length < 0:
            raise InvalidInput(f"invalid range: offset {offset}, length {length}")
        question = BridgeReadFile(ref=request.Ref, path=request.FilePath, offset=offset, length=length, mount=mount)
        data: FileData = await self._driven.ask(call, question)
        return pb.ReadFileResponse(Data=data.data)

    async def _read_dir(self, request: pb.ReadDirRequest, call: Call, *, mount: int) -> pb.ReadDirResponse:
        question = BridgeReadDir(ref=request.Ref, path=request.DirPath, include_pattern=request.IncludePattern, mount=mount)
        stats: FileStats = await self._driven.ask(call, question)
        return pb.ReadDirResponse(entries=[codec.stat_message(s) for s in stats.entries])

    async def _stat_file(self, request: pb.StatFileRequest, call: Call, *, mount: int) -> pb.StatFileResponse:
        stats: FileStats = await self._driven.ask(call, BridgeStatFile(ref=request.Ref, path=request.Path, mount=mount))
        return pb.StatFileResponse(stat=codec.stat_message(stats.entries[0]))

    async def new_container(self, request: pb.NewContainerRequest, call: Call) -> pb.NewContainerResponse:
        """Mounts are prepared; nothing runs yet."""
        await self._driven.ask(call, codec.read_container(request))
        return pb.NewContainerResponse()

    async def release_container(self, request: pb.ReleaseContainerRequest, call: Call) -> pb.ReleaseContainerResponse:
        """Its processes are killed."""
        await self._driven.ask(call, BridgeReleaseContainer(id=request.ContainerID))
        return pb.ReleaseContainerResponse()

    async def exec_process(self, call: Call) -> None:
        """One stream for all processes of the caller."""
        await Processes(call, lambda message: self._driven.ask(call, message), self._driven.landing).serve()

    async def evaluate(self, request: pb.EvaluateRequest, call: Call) -> pb.EvaluateResponse:
        """Forces a lazy result."""
        await self._driven.ask(call, BridgeEvaluate(ref=request.Ref))
        return pb.EvaluateResponse()

    async def inputs(self, request: pb.InputsRequest, call: Call) -> pb.InputsResponse:
        """The frontend inputs of the build."""
        found: BridgeDefinitions = await self._driven.ask(call, BridgeInputs())
        message = pb.InputsResponse()
        for name, definition in found.definitions.items():
            message.Definitions[name].ParseFromString(definition)
        return message

    async def warn(self, request: pb.WarnRequest, call: Call) -> pb.WarnResponse:
        """A warning on a vertex."""
        await self._driven.ask(call, codec.read_warning(request))
        return pb.WarnResponse()

    async def return_(self, request: pb.ReturnRequest, call: Call) -> pb.ReturnResponse:
        """The client's last word: a result or an error."""
        if request.HasField("error"):
            message = BridgeReturn(failure=_failure(request.error.SerializeToString()))
        else:
            message = BridgeReturn(result=codec.read_result(request.result))
        await self._driven.ask(call, message)
        return pb.ReturnResponse()


def _failure(status: bytes) -> Failure:
    """The client's google.rpc.Status; its details travel on."""
    return to_failure(error_of(unpack_details(status) or Status(code=BuildFailed.code, message="the client returned an unreadable error")))


def _mount(index: int) -> int:
    """Raises BuildFailed for one that can't be."""
    if index < 0:
        raise BuildFailed(f"mount index {index} is out of bounds")
    return index
