"""The handlers of `build.<ref>.bridge`: clients through the gateway, frontends, and frontend containers all ask here."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from services.solver.service.build import RunningBuild
from shared.bus.calls import Handlers, Served
from shared.errors import BuildFailed, NotFound
from shared.model import Ref
from shared.wire.messages import (
    BridgeDefinitions,
    BridgeEvaluate,
    BridgeInputs,
    BridgePing,
    BridgePong,
    BridgeReadDir,
    BridgeReadFile,
    BridgeResolveSource,
    BridgeResult,
    BridgeReturn,
    BridgeSolve,
    BridgeStatFile,
    BridgeWarn,
    Done,
    FileData,
    FileStats,
    SourceMeta,
    Worker,
)

T = TypeVar("T")


class Bridge:
    """One build's bridge."""

    def __init__(self, build: RunningBuild, workers: Callable[[], tuple[Worker, ...]]) -> None:
        self._build = build
        self._workers = workers

    def handlers(self) -> Handlers:
        """By request type."""
        return {
            BridgePing: self.ping,
            BridgeSolve: self.solve,
            BridgeResolveSource: self.resolve_source,
            BridgeReadFile: self.read_file,
            BridgeReadDir: self.read_dir,
            BridgeStatFile: self.stat_file,
            BridgeEvaluate: self.evaluate,
            BridgeInputs: self.inputs,
            BridgeWarn: self.warn,
            BridgeReturn: self.give,
        }

    def ping(self, request: BridgePing, served: Served) -> BridgePong:
        return BridgePong(workers=self._workers())

    async def solve(self, request: BridgeSolve, served: Served) -> BridgeResult:
        return await self._build.solve(request)

    async def resolve_source(self, request: BridgeResolveSource, served: Served) -> SourceMeta:
        return await self._build.resolve_source(request)

    async def read_file(self, request: BridgeReadFile, served: Served) -> FileData:
        files, scope = self._build.files, self._build.scope

        async def read(ref: Ref) -> FileData:
            return await files.read(ref, request.path, scope, offset=request.offset, length=request.length)

        return await self._with_ref(request.ref, read)

    async def read_dir(self, request: BridgeReadDir, served: Served) -> FileStats:
        files, scope = self._build.files, self._build.scope

        async def read(ref: Ref) -> FileStats:
            return await files.read_dir(ref, request.path, scope, include=request.include_pattern)

        return await self._with_ref(request.ref, read)

    async def stat_file(self, request: BridgeStatFile, served: Served) -> FileStats:
        files, scope = self._build.files, self._build.scope

        async def read(ref: Ref) -> FileStats:
            return await files.stat(ref, request.path, scope)

        return await self._with_ref(request.ref, read)

    async def _with_ref(self, id: str, read: Callable[[Ref], Awaitable[T]]) -> T:
        if not id:
            raise NotFound("empty ref: a scratch result has no files")

        async def checked(ref: Ref | None) -> T:
            if ref is None:
                raise BuildFailed("empty ref: a scratch result has no files")
            return await read(ref)

        return await self._build.handles.get(id).use(checked)

    async def evaluate(self, request: BridgeEvaluate, served: Served) -> Done:
        await self._build.evaluate_ref(request.ref)
        return Done()

    def inputs(self, request: BridgeInputs, served: Served) -> BridgeDefinitions:
        return self._build.inputs()

    def warn(self, request: BridgeWarn, served: Served) -> Done:
        self._build.warn(request)
        return Done()

    def give(self, request: BridgeReturn, served: Served) -> Done:
        self._build.give(request)
        return Done()
