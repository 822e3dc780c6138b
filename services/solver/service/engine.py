"""Turns the core's effects into work and the answers into events. One engine serves all builds of a process, on one loop."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from services.solver.core.cache_key import CacheKey
from services.solver.core.effects import (
    Announce,
    AskIndex,
    CancelCall,
    ComputeCacheMap,
    Effect,
    Finished,
    Forgotten,
    HashContent,
    LoadResult,
    Progress,
    Release,
    Run,
    SaveResult,
)
from services.solver.core.events import Answered, Build, CancelBuild, CloseJob, Event, Failed, InputsLost, OpenJob, ResultLost
from services.solver.core.graph import LlbOp
from services.solver.core.job_graph import VertexState, actual
from services.solver.core.pipe import CanceledPipe
from services.solver.core.scheduler import Scheduler, Statistics
from services.solver.core.vertex import CacheMap, ContentSelector, Digest, Output, Vertex
from services.solver.ports import CacheIndex, Heard, Sharing, Work
from services.solver.service.nested import NestedBuilds
from services.solver.service.progress import Hub
from shared.errors import (
    BuildmeshError,
    Canceled,
    Code,
    Internal,
    InvalidInput,
    NotFound,
    RefLost,
    left_detail,
    stack_detail,
    vertex_detail,
)
from shared.llb import BuildOp, Op, PassthroughOp
from shared.model import Digest as ContentDigest
from shared.model import Ref
from shared.run import new_id
from shared.telemetry import Log, Tracer
from shared.wire.failure import from_failure, to_failure
from shared.wire.messages import ResolveSource, Scope, SourceResolved


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A build as far as its vertices care."""

    id: str
    session: str = ""
    entitlements: tuple[str, ...] = ()
    identity: str = ""
    trace: str = ""  # traceparent of the build


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A result: the ref (None = scratch), the ids of its cache keys, and which output gave it."""

    ref: Ref | None
    keys: tuple[str, ...]
    output: tuple[Digest, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A vertex below a result: `digest` as the client's definition has it, `pin` what a source resolved to, `keys` by output index.

    `ref`: the result of a source that needed no run.
    """

    digest: Digest
    op: Op
    pin: str
    keys: Mapping[int, tuple[str, ...]]
    ref: Ref | None = None


class Engine:
    """Runs the scheduler. Use inside the task group that is given: calls under way are its tasks."""

    def __init__(
        self,
        *,
        scheduler: Scheduler,
        index: CacheIndex,
        work: Work,
        sharing: Sharing,
        nested: NestedBuilds,
        hub: Hub,
        log: Log,
        tracer: Tracer,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._scheduler = scheduler
        self._index = index
        self._work = work
        self._sharing = sharing
        self._nested = nested
        self._hub = hub
        self._log = log
        self._tracer = tracer
        self._tasks = tasks
        self._events: deque[Event] = deque()
        self._busy = False
        self._running: dict[int, asyncio.Task[None]] = {}
        self._canceled: set[int] = set()
        self._waiting: dict[str, asyncio.Future[Finished]] = {}
        self._jobs: dict[str, Job] = {}
        self._sources: dict[Digest, SourceResolved] = {}

    # --- for builds

    def open_job(self, job: Job) -> None:
        """A build begins."""
        self._jobs[job.id] = job
        self._send(OpenJob(job=job.id))

    def close_job(self, job_id: str) -> None:
        """A build ended; what only it needed is cancelled and forgotten."""
        self._send(CloseJob(job=job_id))
        self._jobs.pop(job_id, None)

    async def build(self, output: Output, *, job: str = "", parent: Digest = "") -> Built:
        """The result of an output. Leaving early tells the scheduler; it stops what nobody else needs."""
        request = new_id()
        done: asyncio.Future[Finished] = asyncio.get_running_loop().create_future()
        self._waiting[request] = done
        self._send(Build(request=request, output=output, job=job, parent=parent))
        try:
            finished = await done
        except asyncio.CancelledError:
            self._send(CancelBuild(request=request))
            raise
        finally:
            self._waiting.pop(request, None)
        if finished.error is not None:
            raise own_error(finished.error)
        return Built(ref=finished.value, keys=tuple(key.id for key in finished.keys), output=finished.output)

    async def lost(self, built: Built, ref_id: str) -> None:
        """This result turned out to be gone: the next `build` makes it again."""
        await self._drop([ref_id])
        self._send(ResultLost(output=built.output, value=built.ref))

    async def _drop(self, ref_ids: list[str]) -> None:
        self._sharing.lost(ref_ids)
        await self._index.drop(ref_ids)

    def scope_of(self, digest: Digest) -> Scope:
        """On whose behalf a shared vertex runs: all builds that need it."""
        jobs = [self._jobs[id] for id in self._scheduler.graph.jobs_of(digest) if id in self._jobs]
        return scope_for(jobs)

    def made_of(self, output: Output) -> list[Made]:
        """All that a result stands on, inputs first. Only while a build has it."""
        return [self._made(state) for state in self._scheduler.graph.below(output)]

    def _made(self, state: VertexState) -> Made:
        resolved = self._sources.get(state.vertex.digest)
        keys = {index: tuple(key.id for key in actual(edge).keys) for index, edge in state.edges.items()}
        return Made(
            digest=state.vertex.client_digest,
            op=_llb(state.vertex).op,
            pin=resolved.pin if resolved is not None else "",
            keys=keys,
            ref=resolved.ref if resolved is not None else None,
        )

    def statistics(self) -> Statistics:
        """Sizes of what is alive."""
        return self._scheduler.statistics()

    def explain(self, digest: Digest) -> list[str]:
        """Why the scheduler did what it did with a vertex."""
        return [str(decision) for decision in self._scheduler.trace.of(digest)]

    # --- events and effects

    def _send(self, event: Event) -> None:
        self._events.append(event)
        if self._busy:
            return
        self._busy = True
        try:
            while self._events:
                for effect in self._scheduler.handle(self._events.popleft()):
                    self._take(effect)
        finally:
            self._busy = False

    def _take(self, effect: Effect) -> None:
        match effect:
            case AskIndex():
                self._start(effect.call, self._index.ask(effect.question), None)
            case SaveResult():
                identity = self.scope_of(effect.vertex.digest).identity
                self._start(effect.call, self._index.save(effect.vertex.digest, effect.keys, effect.value, identity), None)
            case ComputeCacheMap():
                self._cache_map(effect)
            case HashContent():
                self._start(effect.call, self._hash(effect), effect.vertex, (effect.value,), first_input=effect.input)
            case LoadResult():
                self._send(Answered(call=effect.call, value=effect.record.payload))
            case Run():
                self._start(effect.call, self._run(effect.vertex, effect.inputs, effect.keys), effect.vertex, effect.inputs)
            case CancelCall():
                if (task := self._running.get(effect.call)) is not None:
                    self._canceled.add(effect.call)
                    task.cancel()
            case Announce():
                self._hub.announce(effect.job, effect.vertex)
            case Progress():
                self._hub.progress(effect.vertex, completed=effect.completed, cached=effect.cached, error=effect.error)
            case Finished():
                if (done := self._waiting.get(effect.request)) is not None and not done.done():
                    done.set_result(effect)
            case Forgotten():
                self._hub.forget(effect.digest)
                self._sources.pop(effect.digest, None)
            case Release():
                pass  # leases hold results for builds, not for this process

    def _start(
        self, call: int, work: Awaitable[Any], vertex: Vertex | None, values: Sequence[Ref | None] = (), *, first_input: int = 0
    ) -> None:
        self._running[call] = self._tasks.create_task(self._perform(call, work, vertex, values, first_input), name=f"solver call {call}")

    async def _perform(
        self, call: int, work: Awaitable[Any], vertex: Vertex | None, values: Sequence[Ref | None], first_input: int
    ) -> None:
        event: Event
        try:
            with self._span(vertex, call):
                event = Answered(call=call, value=await work)
        except asyncio.CancelledError:
            self._running.pop(call, None)
            if call in self._canceled:  # else the whole service stops
                self._canceled.discard(call)
                self._send(Failed(call=call, error=Canceled("context canceled"), canceled=True))
            raise
        except RefLost as error:
            event = await self._inputs_lost(call, error, vertex, values, first_input)
        except Exception as error:
            event = Failed(call=call, error=self._about(error, vertex))
        self._running.pop(call, None)
        self._canceled.discard(call)
        self._send(event)

    def _span(self, vertex: Vertex | None, call: int) -> AbstractContextManager[object]:
        """Work on a vertex shows in the trace of the first build that needs it."""
        if vertex is None:
            return nullcontext()
        traces = (self._jobs[id].trace for id in self._scheduler.graph.jobs_of(vertex.digest) if id in self._jobs)
        return self._tracer.span(vertex.name[:200], next(traces, None), attributes={"vertex": vertex.digest, "call": call})

    async def _inputs_lost(
        self, call: int, error: RefLost, vertex: Vertex | None, values: Sequence[Ref | None], first_input: int
    ) -> InputsLost:
        lost = [i for i, ref in enumerate(values) if ref is not None and ref.id == error.ref_id]
        if not lost:  # an ancestor of one of them: we can't tell which
            lost = [i for i, ref in enumerate(values) if ref is not None]
        refs = [ref for i in lost if (ref := values[i]) is not None]
        self._log.warning("results are lost and made again", refs=[ref.id for ref in refs], vertex=vertex.digest if vertex else "")
        await self._drop([ref.id for ref in refs])
        return InputsLost(call=call, inputs=tuple(i + first_input for i in lost), error=self._about(error, vertex))

    def _about(self, error: Exception, vertex: Vertex | None) -> BuildmeshError:
        """The error, told whose it is."""
        if not isinstance(error, BuildmeshError):
            self._log.error("a step failed in an unforeseen way", error=f"{type(error).__name__}: {error}")
            error = Internal(f"{type(error).__name__}: {error}")
        if error.detail("stack.Stack+json") is None:
            error.details = (stack_detail(error), *error.details)
        return error.with_details(vertex_detail(vertex.client_digest)) if vertex is not None else error

    # --- the kinds of work

    def _cache_map(self, effect: ComputeCacheMap) -> None:
        vertex = effect.vertex
        if _llb(vertex).is_source:
            self._start(effect.call, self._source_map(vertex, effect.index), vertex)
            return
        try:
            event: Event = Answered(call=effect.call, value=_llb(vertex).cache_map())
        except Exception as error:
            event = Failed(call=effect.call, error=self._about(error, vertex).prefixed("failed to load cache key"))
        self._send(event)

    async def _source_map(self, vertex: Vertex, index: int) -> CacheMap:
        resolved = self._sources.get(vertex.digest)
        if resolved is None:
            op = _llb(vertex)
            request = ResolveSource(
                vertex=ContentDigest(vertex.digest), op=op.data, platform=op.platform, scope=self.scope_of(vertex.digest)
            )
            try:
                resolved = await self._work.resolve(request, self._hub.heard)
            except BuildmeshError as error:
                raise error.prefixed("failed to load cache key") from None
            self._sources[vertex.digest] = resolved
        if not 0 <= index < len(resolved.keys):
            raise Internal(f"source {vertex.name} has {len(resolved.keys)} cache keys, key {index} was asked for")
        return CacheMap(digest=resolved.keys[index], last=index == len(resolved.keys) - 1)

    async def _hash(self, effect: HashContent) -> Digest:
        selectors = effect.selectors or (ContentSelector(),)
        scope = self.scope_of(effect.vertex.digest)
        try:
            return await self._work.hash_content(effect.value, selectors, scope, self._hub.heard)
        except RefLost:
            raise
        except BuildmeshError as error:
            if isinstance(error, NotFound):
                error.status_code = Code.UNKNOWN  # a missing file is an ordinary failure of the build
            error.with_details(left_detail([effect.value], [], {"cache": {"index": effect.input}}))
            raise error.prefixed("failed to compute cache key") from None

    async def _run(self, vertex: Vertex, inputs: tuple[Ref | None, ...], keys: tuple[CacheKey, ...]) -> tuple[Ref | None, ...]:
        op = _llb(vertex)
        match op.op.kind:
            case PassthroughOp(outputs=outputs):
                return tuple(inputs[i] for i in outputs)
            case BuildOp():
                return (await self._run_nested(vertex, op.op.kind, inputs),)
        resolved = self._sources.get(vertex.digest)
        if resolved is not None and (resolved.ref is not None or resolved.scratch):
            return (resolved.ref,)

        async def work(heard: Heard) -> tuple[Ref | None, ...]:
            return await self._work.run(vertex.digest, vertex.name, op, inputs, resolved, self.scope_of(vertex.digest), heard)

        return await self._sharing.run(vertex, keys, work, self._hub.heard)

    async def _run_nested(self, vertex: Vertex, op: BuildOp, inputs: tuple[Ref | None, ...]) -> Ref | None:
        """A build op: read a definition from an input and solve it."""
        scope = self.scope_of(vertex.digest)
        output = await self._nested.load(op, inputs, scope)
        return None if output is None else (await self.build(output, parent=vertex.digest)).ref


def _llb(vertex: Vertex) -> LlbOp:
    if not isinstance(vertex.op, LlbOp):
        raise InvalidInput(f"vertex {vertex.name!r} has no operation")
    return vertex.op


def scope_for(jobs: Sequence[Job]) -> Scope:
    """The lease of the first, the sessions and entitlements of all."""
    return Scope(
        lease=jobs[0].id if jobs else "",
        sessions=tuple(dict.fromkeys(job.session for job in jobs if job.session)),
        entitlements=tuple(dict.fromkeys(name for job in jobs for name in job.entitlements)),
        identity=jobs[0].identity if jobs else "",
    )


def own_error(error: BaseException) -> BuildmeshError:
    """A copy that this build may add details to: the same error may belong to several builds."""
    if isinstance(error, CanceledPipe):
        return Canceled("context canceled")
    if isinstance(error, BuildmeshError):
        return from_failure(to_failure(error))
    return Internal(f"{type(error).__name__}: {error}")
