"""One run of a vertex in the whole fleet, however many solvers want it (docs/adr/0051).

Before it runs something a solver claims it at the cachestore. Who finds it claimed joins the solver that runs it: hears its progress
from the start, and gets its outputs. A run lasts as long as anybody wants it, here or elsewhere. What can't be arranged is simply run.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from services.solver.core.cache_key import CacheKey
from services.solver.core.graph import LlbOp
from services.solver.core.vertex import Vertex
from services.solver.ports import Claims, ClaimWish, Heard, Outputs
from shared.bus.calls import Calls, Handlers, Served
from shared.errors import CallLost, Canceled, NotFound, RefLost, SessionGone, Unavailable
from shared.llb import ExecOp, FileOp
from shared.model import Digest, LogChunk, Status
from shared.run import new_id
from shared.run.flight import Flight
from shared.telemetry import Log
from shared.wire import subjects
from shared.wire.messages import JoinRun, OpDone, TaskProgress

ATTEMPTS = 6
KEPT = 5.0  # seconds that outputs can still be asked for: until those who looked into the index before have come
KEPT_LOG = 1 << 20  # bytes of a step's output that late ones still get
ALIVE = 5.0  # seconds; claims of a solver that is silent for 20 s end
REMEMBERED = 10_000  # lost refs
QUIET = 0.05  # seconds between two batches of progress
WITHIN, ABSENT = 5.0, 1.0  # seconds for a solver to take a call
NOT_OURS = (CallLost, Unavailable, Canceled, SessionGone, NotFound, RefLost)
"""What befell the other solver and need not befall us."""

Work: TypeAlias = Callable[[Heard], Awaitable[Outputs]]


@dataclass(slots=True, eq=False, kw_only=True)
class _Run:
    """What is said of a run, kept for those who come late."""

    work: Work
    outputs: Outputs | None = None
    statuses: dict[str, Status] = field(default_factory=dict)
    logs: list[LogChunk] = field(default_factory=list)
    log_bytes: int = 0
    listeners: dict[Heard, None] = field(default_factory=dict)

    def heard(self, statuses: Sequence[Status], logs: Sequence[LogChunk]) -> None:
        for status in statuses:
            self.statuses[status.id] = status
        for chunk in logs:
            if self.log_bytes < KEPT_LOG:
                self.log_bytes += len(chunk.data)
                self.logs.append(chunk)
        for listener in self.listeners:
            listener(statuses, logs)

    @contextmanager
    def listening(self, heard: Heard) -> Iterator[None]:
        """First what was missed."""
        heard(list(self.statuses.values()), list(self.logs))
        self.listeners[heard] = None
        try:
            yield
        finally:
            del self.listeners[heard]


class FleetRuns:
    """A Sharing. `home` is this solver's id; runs live in `tasks`, so that they survive the build that began them."""

    def __init__(self, *, home: str, calls: Calls, claims: Claims, tasks: asyncio.TaskGroup, log: Log) -> None:
        self._home, self._calls, self._claims, self._log = home, calls, claims, log
        self._runs: dict[str, _Run] = {}
        self._flight: Flight[Outputs] = Flight(tasks)
        self._ended: dict[str, float] = {}  # runs whose claims are to be released, and when
        self._lost: dict[str, None] = {}  # refs that turned out to be gone, the last ones

    async def run(self, vertex: Vertex, keys: Sequence[CacheKey], work: Work, heard: Heard) -> Outputs:
        """See services.solver.ports.Sharing."""
        gone = ""
        for _ in range(ATTEMPTS if keys else 0):
            run = new_id()
            wish = ClaimWish(solver=self._home, run=run, gone=gone, fresh=vertex.options.ignore_cache, single=_outputs(vertex) == 1)
            answer = await self._claims.claim(keys, wish)
            if answer is None:
                break
            if answer.found:
                if self._is_lost((answer.ref,)):
                    break
                return (answer.ref,)
            if answer.run == run:
                return await self._own(run, work, heard, keep=not wish.fresh)
            try:
                outputs = await self._join(answer.solver, answer.run, vertex, heard)
                if not self._is_lost(outputs):
                    return outputs
                gone = answer.run
            except NOT_OURS as error:
                self._log.info("a run elsewhere came to nothing", run=answer.run, solver=answer.solver, error=str(error))
                gone = answer.run
        return await work(heard)

    def lost(self, ref_ids: Sequence[str]) -> None:
        """Runs are kept for a while after their end; their outputs may go before them (an executor that stops)."""
        self._lost |= dict.fromkeys(ref_ids)
        while len(self._lost) > REMEMBERED:
            del self._lost[next(iter(self._lost))]

    def _is_lost(self, outputs: Outputs) -> bool:
        return any(ref is not None and ref.id in self._lost for ref in outputs)

    async def _own(self, id: str, work: Work, heard: Heard, *, keep: bool) -> Outputs:
        run = self._runs[id] = _Run(work=work)
        with run.listening(heard):
            return await self._flight.do(id, lambda: self._perform(id, run, keep=keep))

    async def _perform(self, id: str, run: _Run, *, keep: bool) -> Outputs:
        now = asyncio.get_running_loop().time()
        try:
            run.outputs = await run.work(run.heard)
            now = asyncio.get_running_loop().time() + (KEPT if keep else 0.0)
        finally:
            self._ended[id] = now
            if run.outputs is None:
                self._runs.pop(id, None)
        return run.outputs

    async def _join(self, solver: str, run: str, vertex: Vertex, heard: Heard) -> Outputs:
        def relay(message: object) -> None:
            if isinstance(message, TaskProgress):
                digest = Digest(vertex.digest)
                heard([replace(s, vertex=digest) for s in message.statuses], [replace(c, vertex=digest) for c in message.logs])

        answer = await self._calls.call(subjects.solver_call(solver), JoinRun(run=run), on_progress=relay, within=WITHIN, absent=ABSENT)
        assert isinstance(answer, OpDone)
        return answer.outputs

    async def _join_ours(self, request: JoinRun, served: Served) -> OpDone:
        """Raises NotFound for a run that has ended without result, and what the run raises."""
        run = self._runs.get(request.run)
        if run is None:
            raise NotFound("no such run")
        batches = _Batches(served)
        async with asyncio.TaskGroup() as tasks:
            pump = tasks.create_task(batches.pump(), name="joined run")
            try:
                with run.listening(batches.heard):
                    outputs = await self._outputs_of(request.run, run)
            finally:
                pump.cancel()
                await batches.flush()
        return OpDone(outputs=outputs, executor="")

    async def _outputs_of(self, id: str, run: _Run) -> Outputs:
        if run.outputs is not None:
            return run.outputs
        return await self._flight.do(id, lambda: self._perform(id, run, keep=True))

    async def serve(self, ready: Callable[[], None] = lambda: None) -> None:
        """Answer those who join, and give ended claims back, until cancelled. `ready` is called when somebody may join."""
        handlers: Handlers = {JoinRun: self._join_ours}
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._calls.serve(subjects.solver_call(self._home), handlers, ready=ready, lasting=True), name="joins")
            tasks.create_task(self._release(), name="claims")

    async def _release(self) -> None:
        heard = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(1.0)
            now = asyncio.get_running_loop().time()
            due = [id for id, at in self._ended.items() if at <= now]
            for id in due:
                del self._ended[id]
                self._runs.pop(id, None)
            if due or (self._runs and now - heard >= ALIVE):
                await self._claims.release(due, solver=self._home)
                heard = now

    def statistics(self) -> dict[str, int]:
        """Runs under way or kept."""
        return {"runs": len(self._runs), **self._flight.statistics()}


class Unshared:
    """A Sharing for a solver that has no neighbours."""

    async def run(self, vertex: Vertex, keys: Sequence[CacheKey], work: Work, heard: Heard) -> Outputs:
        """Just the work."""
        return await work(heard)

    def lost(self, ref_ids: Sequence[str]) -> None:
        """Nothing is kept."""


class _Batches:
    """Progress on its way to another solver."""

    def __init__(self, served: Served) -> None:
        self._served = served
        self._statuses: dict[str, Status] = {}
        self._logs: list[LogChunk] = []
        self._news = asyncio.Event()

    def heard(self, statuses: Sequence[Status], logs: Sequence[LogChunk]) -> None:
        self._statuses |= {status.id: status for status in statuses}
        self._logs.extend(logs)
        self._news.set()

    async def pump(self) -> None:
        while True:
            await self._news.wait()
            await self.flush()
            await asyncio.sleep(QUIET)

    async def flush(self) -> None:
        self._news.clear()
        statuses, self._statuses = tuple(self._statuses.values()), {}
        logs, self._logs = tuple(self._logs), []
        if statuses or logs:
            await self._served.progress(TaskProgress(statuses=statuses, logs=logs))


def _outputs(vertex: Vertex) -> int:
    """How many results a run of it gives."""
    kind = vertex.op.op.kind if isinstance(vertex.op, LlbOp) else None
    match kind:
        case ExecOp():
            return len({m.output for m in kind.mounts if m.output >= 0})
        case FileOp():
            return len({a.output for a in kind.actions if a.output >= 0})
    return 1
