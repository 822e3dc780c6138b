"""RunOp: check the op again, bring its inputs here, run it, give its outputs out as Refs."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from services.executor.adapters.joined_ops import Hearing, JoinedOps
from services.executor.adapters.materialise import Materialise
from services.executor.adapters.op_metrics import OpMetrics
from services.executor.adapters.reporter import reporting
from services.executor.core.entitlements import check_entitlements
from services.executor.core.source_ids import Source, parse_source
from services.executor.ports import Reporter, SnapshotStore, SourceDriver
from shared.bus.calls import Served
from shared.errors import Exhausted, InvalidInput
from shared.llb import DiffOp, ExecOp, FileOp, MergeOp, Op, SourceOp, decode_op, validate_op
from shared.model import Ref
from shared.wire.messages import OpDone, ResolveSource, RunOp, Scope, SourceResolved

PLACE_GRACE = 1.0  # seconds; the same for a source whose last state is here: elsewhere all of it would be sent again
GRACE = 0.3  # seconds that work waits for a slot where its inputs are, before any executor of the platform may take it


class OpRunner(Protocol):
    """Runs one kind of op on snapshots of this executor."""

    async def run(self, op: Any, request: RunOp, inputs: Sequence[str | None], report: Reporter) -> Sequence[str | None]:
        """Snapshot ids by output index, committed and held under the request's lease; None = scratch."""
        ...


class Tasks:
    """Handlers of RunOp and ResolveSource. `slots` bounds what runs at once (max-parallelism); `made` is told of new results."""

    def __init__(
        self,
        *,
        home: str,
        materialise: Materialise,
        store: SnapshotStore,
        runners: Mapping[type, OpRunner],
        drivers: Mapping[type, SourceDriver],
        slots: asyncio.Semaphore,
        joined: JoinedOps,
        metrics: OpMetrics,
        made: Callable[[Sequence[Ref | None], Scope], None] = lambda refs, scope: None,
    ) -> None:
        self._metrics, self._joined = metrics, joined
        self._home, self._materialise, self._store = home, materialise, store
        self._runners, self._drivers, self._slots, self._made = runners, drivers, slots, made

    async def resolve(self, request: ResolveSource, served: Served) -> SourceResolved:
        """What a source is now."""
        source = _source_of(_checked(request.op))
        async with reporting(served, request.vertex) as report:
            return await self._driver(source).resolve(source, request, report)

    async def run_pinned(self, request: RunOp, served: Served) -> OpDone:
        """An op whose inputs are here. Raises Exhausted when no slot gets free within its grace: then it may run anywhere."""
        if self._joined.is_running(request):
            return await self.run(request, served)
        try:
            async with asyncio.timeout(PLACE_GRACE if _has_place(request) else GRACE):
                await self._slots.acquire()
        except TimeoutError:
            raise Exhausted("all slots of this executor are taken") from None
        try:
            return await self.run(request, served)
        finally:
            self._slots.release()

    async def run(self, request: RunOp, served: Served) -> OpDone:
        """An op from the queue; its slot is the puller's. Raises RefLost naming an input that can't be had."""
        op = _checked(request.op)
        check_entitlements(op.kind, request.scope.entitlements)
        return await self._joined.run(request, served, lambda hearing: self._run(op, request, hearing))

    async def _run(self, op: Op, request: RunOp, hearing: Hearing) -> OpDone:
        started = time.time_ns()
        async with reporting(hearing, request.vertex) as report:
            with self._metrics.running(op.kind):
                outputs = await self._outputs(op, request, report)
        if not isinstance(op.kind, SourceOp):  # only what is copied from a context leaves the executor that has it
            self._made(outputs, request.scope)
        return OpDone(outputs=outputs, executor=self._home, started=started, completed=time.time_ns())

    async def _outputs(self, op: Op, request: RunOp, report: Reporter) -> tuple[Ref | None, ...]:
        if isinstance(op.kind, SourceOp):
            source = _source_of(op)
            return (await self._driver(source).make(source, request, report),)
        if len(request.inputs) != len(op.inputs):
            raise InvalidInput(f"vertex {request.vertex}: {len(request.inputs)} inputs given, the op has {len(op.inputs)}")
        inputs = await self._materialise.all(request.inputs, request.scope, report)
        ids = await self._runner(op).run(op.kind, request, inputs, report)
        return tuple(self._ref(id, inputs, request.inputs) for id in ids)

    def _ref(self, id: str | None, inputs: Sequence[str | None], refs: Sequence[Ref | None]) -> Ref | None:
        """An output that is an input unchanged keeps that Ref (and its layers)."""
        if id is None:
            return None
        for given, ref in zip(inputs, refs, strict=True):
            if given == id:
                return ref
        return Ref(id=id, home=self._home, size=self._store.get(id).size)

    def _runner(self, op: Op) -> OpRunner:
        runner = self._runners.get(type(op.kind))
        if runner is None:
            raise InvalidInput(f"an executor can't run a {type(op.kind).__name__}")
        return runner

    def _driver(self, source: Source) -> SourceDriver:
        driver = self._drivers.get(type(source))
        if driver is None:
            raise InvalidInput(f"sources of kind {type(source).__name__} are not supported by this server yet")
        return driver


def _has_place(request: RunOp) -> bool:
    """A source of which this executor has the last state."""
    return request.resolved is not None and bool(request.resolved.executor)


RUNNABLE = (ExecOp, FileOp, MergeOp, DiffOp, SourceOp)


def _checked(data: bytes) -> Op:
    """Whoever can publish on the bus is treated like an untrusted frontend."""
    op = decode_op(data)
    validate_op(op)
    if not isinstance(op.kind, RUNNABLE):
        raise InvalidInput(f"an executor can't run a {type(op.kind).__name__}")
    return op


def _source_of(op: Op) -> Source:
    if not isinstance(op.kind, SourceOp):
        raise InvalidInput(f"a source was expected, not a {type(op.kind).__name__}")
    return parse_source(op.kind.identifier, op.kind.attrs)
