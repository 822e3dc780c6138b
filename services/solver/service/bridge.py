"""The handlers of `build.<ref>.bridge`, where clients ask through the gateway, and of `build.<ref>.runs`, where frontends do.

Every frontend, and every executor (frontends from images run there), may speak on the latter about any build. So each call names the run
that it belongs to.
"""

from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import Any, TypeVar

from services.solver.service.build import RunningBuild
from shared.bus.calls import Handlers, Served
from shared.errors import BuildFailed, NotFound
from shared.llb import clean_path
from shared.model import Ref
from shared.wire.messages import (
    BridgeDefinitions,
    BridgeEvaluate,
    BridgeExec,
    BridgeInputs,
    BridgeNewContainer,
    BridgePing,
    BridgePong,
    BridgeReadDir,
    BridgeReadFile,
    BridgeReleaseContainer,
    BridgeResolveSource,
    BridgeResult,
    BridgeReturn,
    BridgeRunImage,
    BridgeSolve,
    BridgeStatFile,
    BridgeWarn,
    Done,
    FileData,
    FileStat,
    FileStats,
    ReadContainerDir,
    ReadContainerFile,
    SourceMeta,
    StatContainerFile,
    Worker,
)

T = TypeVar("T")
EMPTY_ROOT = 1 << 31 | 0o755  # Go's file mode of a directory


def _nothing_at(call: str, path: str) -> BuildFailed:
    return BuildFailed(f"{call} {path[:1000]}: no such file or directory")


class Bridge:
    """One build's bridge."""

    def __init__(self, build: RunningBuild, workers: Callable[[], tuple[Worker, ...]]) -> None:
        self._build = build
        self._workers = workers

    def for_frontends(self) -> Handlers:
        """Of those that run now. The last word is the client's: what a frontend returns is the answer to its RunFrontend."""
        return {kind: self._bound(handler) for kind, handler in self.handlers().items() if kind is not BridgeReturn}

    def _bound(self, handler: Callable[[Any, Served], Any]) -> Callable[[Any, Served], Awaitable[Any]]:
        async def checked(request: Any, served: Served) -> Any:
            self._build.runs.require(request.caller)
            answer = handler(request, served)
            return await answer if isawaitable(answer) else answer

        return checked

    def handlers(self) -> Handlers:
        """By request type, for the client."""
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
            BridgeNewContainer: self.new_container,
            BridgeReleaseContainer: self.release_container,
            BridgeExec: self.exec,
            BridgeRunImage: self.run_image,
        }

    def ping(self, request: BridgePing, served: Served) -> BridgePong:
        return BridgePong(workers=self._workers())

    async def solve(self, request: BridgeSolve, served: Served) -> BridgeResult:
        return await self._build.solve(request)

    async def resolve_source(self, request: BridgeResolveSource, served: Served) -> SourceMeta:
        return await self._build.resolve_source(request)

    async def read_file(self, request: BridgeReadFile, served: Served) -> FileData:
        if request.mount >= 0:
            return await self._file_of_container(request)
        files, scope = self._build.files, self._build.scope

        async def read(ref: Ref | None) -> FileData:
            if ref is None:
                raise _nothing_at("open", request.path)
            return await files.read(ref, request.path, scope, offset=request.offset, length=request.length)

        return await self._use(request.ref, read)

    async def read_dir(self, request: BridgeReadDir, served: Served) -> FileStats:
        if request.mount >= 0:
            return await self._dir_of_container(request)
        files, scope = self._build.files, self._build.scope

        async def read(ref: Ref | None) -> FileStats:
            if ref is None:
                if clean_path("/" + request.path) != "/":
                    raise _nothing_at("open", request.path)
                return FileStats(entries=())
            return await files.read_dir(ref, request.path, scope, include=request.include_pattern)

        return await self._use(request.ref, read)

    async def stat_file(self, request: BridgeStatFile, served: Served) -> FileStats:
        if request.mount >= 0:
            return await self._stat_of_container(request)
        files, scope = self._build.files, self._build.scope

        async def read(ref: Ref | None) -> FileStats:
            if ref is None:
                if clean_path("/" + request.path) != "/":
                    raise _nothing_at("lstat", request.path)
                return FileStats(entries=(FileStat(path="/", mode=EMPTY_ROOT),))
            return await files.stat(ref, request.path, scope)

        return await self._use(request.ref, read)

    async def _use(self, id: str, read: Callable[[Ref | None], Awaitable[T]]) -> T:
        """A result that was never solved has no files; one that turned out to be scratch has an empty root."""
        if not id:
            raise NotFound("empty ref: a scratch result has no files")
        return await (await self._build.handle(id)).use(read)

    async def _file_of_container(self, request: BridgeReadFile) -> FileData:
        def ask(id: str) -> ReadContainerFile:
            return ReadContainerFile(container=id, mount=request.mount, path=request.path, offset=request.offset, length=request.length)

        found = await self._build.containers.files(request.ref, request.mount, ask)
        assert isinstance(found, FileData)
        return found

    async def _dir_of_container(self, request: BridgeReadDir) -> FileStats:
        def ask(id: str) -> ReadContainerDir:
            return ReadContainerDir(container=id, mount=request.mount, path=request.path, include_pattern=request.include_pattern)

        found = await self._build.containers.files(request.ref, request.mount, ask)
        assert isinstance(found, FileStats)
        return found

    async def _stat_of_container(self, request: BridgeStatFile) -> FileStats:
        def ask(id: str) -> StatContainerFile:
            return StatContainerFile(container=id, mount=request.mount, path=request.path)

        found = await self._build.containers.files(request.ref, request.mount, ask)
        assert isinstance(found, FileStats)
        return found

    async def new_container(self, request: BridgeNewContainer, served: Served) -> Done:
        await self._build.containers.open(request)
        return Done()

    async def release_container(self, request: BridgeReleaseContainer, served: Served) -> Done:
        await self._build.containers.release(request.id)
        return Done()

    async def exec(self, request: BridgeExec, served: Served) -> Done:
        await self._build.containers.run(request)
        return Done()

    async def run_image(self, request: BridgeRunImage, served: Served) -> BridgeResult:
        return await self._build.run_image(request)

    async def evaluate(self, request: BridgeEvaluate, served: Served) -> Done:
        await self._build.evaluate_ref(request.ref)
        return Done()

    def inputs(self, request: BridgeInputs, served: Served) -> BridgeDefinitions:
        return self._build.inputs()

    def warn(self, request: BridgeWarn, served: Served) -> Done:
        self._build.warn(request)
        return Done()

    async def give(self, request: BridgeReturn, served: Served) -> Done:
        await self._build.give(request)
        return Done()
