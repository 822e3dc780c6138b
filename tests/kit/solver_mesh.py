"""The solver service on a memory bus among neighbours that only pretend: an executor that computes strings, a cache index in
memory, an exporter that remembers, a frontend that is a function. They count what they were asked.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from services.solver.config import SolverConfig
from services.solver.core.cache_key import CacheKey, KeyLink, root_key_id
from services.solver.core.questions import FetchRecords, LinksFound, QueryLinks, RecordsFound
from services.solver.service import run
from shared.blobs.memory import MemoryBlobs
from shared.bus.calls import Calls, Handlers, Served
from shared.bus.memory import MemoryBus
from shared.errors import BuildFailed, InvalidInput, RefLost
from shared.llb import ExecOp, FileOp, SourceOp, State, decode_op, encode_definition, marshal
from shared.llb.marshal import MarshalDefaults
from shared.model import Digest, LogChunk, Platform, Ref, VertexEvent
from shared.run import Mesh, Readiness
from shared.session.ports import SessionLinks
from shared.telemetry import Log, Metrics, Tracer
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.messages import (
    BridgeResult,
    BuildEvents,
    CacheDrop,
    CacheKeys,
    CacheQuery,
    CacheRecord,
    CacheRecords,
    CacheRecordsOf,
    CacheSave,
    CacheSaved,
    CheckExport,
    ContentHash,
    ContentHashed,
    Done,
    ExecutorInfo,
    ExportChecked,
    ExportDone,
    FileData,
    FinalizeExport,
    FoundKey,
    OpDone,
    ReadRefFile,
    ResolveSource,
    RunExport,
    RunFrontend,
    RunOp,
    SolveBuild,
    SolveDone,
    SourceResolved,
    TaskProgress,
)
from tests.kit.solver_world import MemoryIndex

LINUX = Platform(os="linux", architecture="amd64")


def definition(state: State) -> bytes:
    """A state as a client would send it."""
    return encode_definition(marshal(state, MarshalDefaults(platform=LINUX)))


class PretendExecutor:
    """Trees are strings: `name of op(inputs)`. `hold`: a text in a command → event that its run waits for."""

    def __init__(self, calls: Calls, id: str) -> None:
        self.id = id
        self.calls = calls
        self.trees: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.ran: list[str] = []
        self.canceled: list[str] = []
        self.hold: dict[str, asyncio.Event] = {}
        self.started: dict[str, asyncio.Event] = {}
        self.scopes: list[Any] = []

    def info(self) -> ExecutorInfo:
        return ExecutorInfo(id=self.id, platforms=(LINUX,), slots=64)

    async def serve(self) -> None:
        handlers: dict[type, Callable[[Any, Served], Awaitable[Any]]] = {
            ResolveSource: self.resolve,
            RunOp: self.run,
            ContentHash: self.hash,
            ReadRefFile: self.read,
        }
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.calls.serve(subjects.EXECUTOR, handlers, queue="executors"))
            tasks.create_task(self.calls.serve(subjects.executor_call(self.id), handlers))
            tasks.create_task(self.calls.work(subjects.exec_queue(LINUX), {RunOp: self.run}, slots=asyncio.Semaphore(64)))

    async def resolve(self, request: ResolveSource, served: Served) -> SourceResolved:
        self.counts["resolve"] += 1
        self.scopes.append(request.scope)
        source = decode_op(request.op).kind
        assert isinstance(source, SourceOp)
        if "missing" in source.identifier:
            raise BuildFailed(f"{source.identifier}: not found")
        key = hashlib.sha256(source.identifier.encode()).hexdigest()
        if source.scheme == "local":
            key = hashlib.sha256(f"{request.scope.sessions} {source.identifier}".encode()).hexdigest()
            return SourceResolved(keys=("random:" + key,))
        ref = self.keep(source.identifier, home="") if source.scheme == "docker-image" else None
        return SourceResolved(keys=("sha256:" + key,), ref=ref, image_digest="sha256:" + key, image_config=b"{}")

    def keep(self, tree: str, *, home: str | None = None) -> Ref:
        id = f"{self.id}-{len(self.trees)}"
        self.trees[id] = tree
        return Ref(id=id, home=self.id if home is None else home)

    def tree(self, ref: Ref | None) -> str:
        if ref is None:
            return "scratch"
        if ref.id not in self.trees:
            raise RefLost(ref.id)
        return self.trees[ref.id]

    async def run(self, request: RunOp, served: Served) -> OpDone:
        trees = [self.tree(ref) for ref in request.inputs]
        self.scopes.append(request.scope)
        self.counts["run"] += 1
        self.ran.append(request.name)
        if (started := self.started.get(request.name)) is not None:
            started.set()
        try:
            if (gate := self.hold.get(request.name)) is not None:
                await gate.wait()
        except asyncio.CancelledError:
            self.canceled.append(request.name)
            raise
        kind = decode_op(request.op).kind
        match kind:
            case ExecOp():
                return await self._exec(kind, request, trees, served)
            case FileOp():
                text = f"file[{len(kind.actions)}]({', '.join(trees)})"
            case SourceOp():
                text = kind.identifier
            case _:
                text = f"{type(kind).__name__}({', '.join(trees)})"
        return OpDone(outputs=(self.keep(text),), executor=self.id)

    async def _exec(self, op: ExecOp, request: RunOp, trees: list[str], served: Served) -> OpDone:
        command = " ".join(op.meta.args)
        await served.progress(TaskProgress(logs=(LogChunk(vertex=request.vertex, stream=1, data=f"{command}\n".encode()),)))
        if "fail" in command:
            raise BuildFailed(f'process "{command}" did not complete successfully: exit code: 1')
        outputs = len({m.output for m in op.mounts if m.output >= 0})
        return OpDone(outputs=tuple(self.keep(f"{command}({', '.join(trees)})") for _ in range(outputs)), executor=self.id)

    async def hash(self, request: ContentHash, served: Served) -> ContentHashed:
        self.counts["hash"] += 1
        paths = [s.path for s in request.selectors]
        content = self.tree(request.ref) + str(paths)
        return ContentHashed(digest=Digest("sha256:" + hashlib.sha256(content.encode()).hexdigest()))

    async def read(self, request: ReadRefFile, served: Served) -> FileData:
        return FileData(data=self.tree(request.ref).encode())


class PretendCachestore:
    """The cache index of tests/kit/solver_world over the bus."""

    def __init__(self, calls: Calls) -> None:
        self.calls = calls
        self.index = MemoryIndex()
        self.identities: list[str] = []  # of what was saved

    async def serve(self) -> None:
        handlers: Handlers = {CacheQuery: self.query, CacheRecordsOf: self.records, CacheSave: self.save, CacheDrop: self.drop}
        await self.calls.serve(subjects.CACHE, handlers, queue="cachestore")

    def query(self, q: CacheQuery, served: Served) -> CacheKeys:
        if not q.deps:
            reply = self.index.ask(FetchRecords(key_id=root_key_id(q.digest, q.output)))
            assert isinstance(reply, RecordsFound)
            root = FoundKey(id=root_key_id(q.digest, q.output), digest=q.digest, output=q.output, has_records=bool(reply.records))
            return CacheKeys(keys=(root,) if reply.exists else ())
        links = tuple((q.nodes[d.node].id, d.selector) for d in q.deps)
        found = self.index.ask(QueryLinks(links=links, input=q.input, digest=q.digest, output=q.output))
        assert isinstance(found, LinksFound)
        return CacheKeys(keys=tuple(FoundKey(id=i, digest=q.digest, output=q.output, dep=0, has_records=True) for i in found.key_ids))

    def records(self, q: CacheRecordsOf, served: Served) -> CacheRecords:
        reply = self.index.ask(FetchRecords(key_id=q.nodes[q.key].id))
        assert isinstance(reply, RecordsFound)
        return CacheRecords(records=tuple(CacheRecord(id=r.id, ref=r.payload, created_at=r.created_at) for r in reply.records))

    def save(self, q: CacheSave, served: Served) -> CacheSaved:
        self.identities.append(q.identity)
        nodes = [CacheKey(id=n.id, digest=n.digest, output=n.output) for n in q.nodes]
        main = q.nodes[q.key]
        inputs = tuple(tuple(KeyLink(nodes[d.node], d.selector) for d in row) for row in main.deps)
        id = self.index.save(CacheKey(id=main.id, digest=main.digest, output=main.output, inputs=inputs), q.ref)
        return CacheSaved(key_ids=tuple(id if i == q.key else n.id for i, n in enumerate(q.nodes)), record="")

    def drop(self, q: CacheDrop, served: Served) -> Done:
        for records in self.index.records.values():
            for id in [id for id, r in records.items() if r.payload is not None and r.payload.id in q.ref_ids]:
                del records[id]
        return Done()


@dataclass(eq=False)
class Neighbours:
    """Everything around the solver."""

    bus: MemoryBus
    calls: Calls
    executor: PretendExecutor
    cachestore: PretendCachestore
    exported: list[RunExport] = field(default_factory=list)
    finalized: list[FinalizeExport] = field(default_factory=list)
    frontend: Callable[[RunFrontend, Calls], Awaitable[BridgeResult]] | None = None
    exports_lost: int = 0
    _count: int = 0

    async def solve(self, state: State | bytes = b"", **request: Any) -> SolveDone:
        """Run a build through the queue."""
        self._count += 1
        raw = definition(state) if isinstance(state, State) else state
        order = SolveBuild(**{"ref": f"build{self._count}", "session": f"session{self._count}", "definition": raw, **request})
        done = await self.calls.run(subjects.BUILDS, order)
        assert isinstance(done, SolveDone)
        return done

    async def events(self, ref: str) -> list[BuildEvents]:
        """The event log of a build up to its end."""
        codec = Codec()
        out: list[BuildEvents] = []
        async with asyncio.timeout(5), self.bus.follow(subjects.build_events(ref)) as entries:
            async for delivery in entries:
                batch = codec.decode(delivery.data).body
                assert isinstance(batch, BuildEvents)
                if batch.last:
                    return out
                out.append(batch)
        return out

    async def vertices(self, ref: str) -> dict[str, VertexEvent]:
        """The last event of each vertex by name."""
        return {v.name: v for batch in await self.events(ref) for v in batch.vertices}

    def check(self, request: CheckExport, served: Served) -> ExportChecked:
        if request.exporter.type == "unknown":
            raise InvalidInput('exporter "unknown" could not be found')
        return ExportChecked(name=f"exporting to {request.exporter.type}")

    async def export(self, request: RunExport, served: Served) -> ExportDone:
        ref = request.result.ref
        if self.exports_lost and ref is not None:
            self.exports_lost -= 1
            self.executor.trees.pop(ref.id, None)
        tree = self.executor.tree(ref)
        self.exported.append(request)
        return ExportDone(response={f"tree.{request.index}": tree}, finalize=b"push" if request.exporter.type == "image" else b"")

    async def finalize(self, request: FinalizeExport, served: Served) -> Done:
        self.finalized.append(request)
        return Done()

    async def run_frontend(self, request: RunFrontend, served: Served) -> BridgeResult:
        assert self.frontend is not None
        return await self.frontend(request, self.calls)


@asynccontextmanager
async def solver_among_neighbours(*, alone: bool = True, **config: Any) -> AsyncIterator[Neighbours]:
    """A running solver and its world, for at most a minute. `alone`: there are no other solvers that could take a build over."""
    bus = MemoryBus()
    async with asyncio.timeout(60), Calls(bus) as calls, asyncio.TaskGroup() as tasks:
        executor, cachestore = PretendExecutor(calls, "exec-1"), PretendCachestore(calls)
        world = Neighbours(bus=bus, calls=calls, executor=executor, cachestore=cachestore)
        bucket = await bus.bucket(subjects.KV_EXECUTORS, ttl=5.0)

        async def stay_alive() -> None:
            while True:
                await bucket.put(executor.id, Codec().encode(executor.info()))
                await asyncio.sleep(1)

        exporter: Handlers = {CheckExport: world.check, RunExport: world.export, FinalizeExport: world.finalize}
        running = [
            tasks.create_task(stay_alive()),
            tasks.create_task(executor.serve()),
            tasks.create_task(cachestore.serve()),
            tasks.create_task(calls.serve(subjects.EXPORTER, exporter, queue="exporter")),
            tasks.create_task(calls.serve(subjects.FRONTEND, {RunFrontend: world.run_frontend}, queue="frontend")),
            tasks.create_task(run(SolverConfig(**config), _mesh(bus, calls, alone=alone))),
        ]
        yield world
        for task in running:
            task.cancel()


def _mesh(bus: MemoryBus, calls: Calls, *, alone: bool) -> Mesh:
    class NoSessions:
        pass

    sessions: SessionLinks = NoSessions()  # type: ignore[assignment]
    return Mesh(
        instance="test",
        bus=bus,
        calls=calls,
        blobs=MemoryBlobs(),
        claims=MemoryBlobs(),
        sessions=sessions,
        log=Log(),
        tracer=Tracer("solver", ()),
        metrics=Metrics(),
        readiness=Readiness(),
        alone=alone,
    )
