"""The loop around the edges: `handle(event)` turns every edge that has news until none has, and returns the effects.

Here live the pipes, the calls, the parked edges (those that wait for the cache index in the middle of a turn), merging,
and the check of the two laws after each turn. BuildKit: solver/scheduler.go.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, assert_never

from services.solver.core.cache_key import CacheKey
from services.solver.core.edge import Edge, Thinking
from services.solver.core.edge_index import EdgeIndex
from services.solver.core.edge_rules import Input
from services.solver.core.effects import Announce, AskIndex, CancelCall, Effect, Finished, Forgotten, Release, SaveResult
from services.solver.core.events import Answered, Build, CancelBuild, CloseJob, Event, Failed, InputsLost, OpenJob, ResultLost
from services.solver.core.job_graph import JobGraph, VertexState, actual, depends_on
from services.solver.core.mending import Mending
from services.solver.core.pipe import CallKind, CanceledPipe, EdgeState, EdgeView, InputRequest, Pipe
from services.solver.core.questions import FoundRecord, Reply
from services.solver.core.result import EdgeResult, Ledger, SharedResult
from services.solver.core.shared_op import FlightKey, SharedOp
from services.solver.core.trace import Trace
from services.solver.core.vertex import Output, Vertex


class BrokenLaw(AssertionError):
    """A turn left an edge waiting for nothing, or asking for nobody: a fault of this machine, never of its input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Sizes, for people and for tests that want zero."""

    vertices: int
    edges_indexed: int
    calls: int
    requests: int
    parked: int
    results: int


@dataclass(frozen=True, slots=True, eq=False)
class _Work:
    op: SharedOp
    key: FlightKey


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    edge: Edge


@dataclass(frozen=True, slots=True, eq=False)
class _Save:
    pipe: Pipe
    result: SharedResult
    keys: tuple[CacheKey, ...]


@dataclass(slots=True, eq=False)
class _Request:
    id: str
    holder: str  # job, or digest of the parent
    pipe: Pipe


class Scheduler:
    """All builds of one solver. `strict` raises BrokenLaw instead of failing the edge (tests)."""

    def __init__(self, *, strict: bool = False, trace: Trace | None = None) -> None:
        self.ledger = Ledger()
        self.graph = JobGraph(self)
        self.trace = trace or Trace()
        self._strict = strict
        self._index = EdgeIndex()
        self._mending = Mending(self)
        self._effects: list[Effect] = []
        self._waiting: dict[Edge, None] = {}
        self._incoming: dict[Edge, list[Pipe]] = {}
        self._outgoing: dict[Edge, list[Pipe]] = {}
        self._parked: dict[Edge, Thinking] = {}
        self._calls: dict[int, _Work | _Question | _Save] = {}
        self._next_call = 0
        self._requests: dict[Pipe, _Request] = {}
        self._handed_out: dict[str, list[SharedResult]] = {}
        self._closing: dict[str, None] = {}

    def handle(self, event: Event) -> list[Effect]:
        """Take one event; every effect of it, in order. Events of calls or requests that ended already are ignored."""
        self.trace.step += 1
        self._take(event)
        while self._waiting:
            edge = next(iter(self._waiting))
            del self._waiting[edge]
            self._turn(edge)
        self._effects.extend(Release(value=value) for value in self.ledger.drain())
        effects, self._effects = self._effects, []
        return effects

    def statistics(self) -> Statistics:
        """What is alive now."""
        return Statistics(
            vertices=len(self.graph.states),
            edges_indexed=len(self._index),
            calls=len(self._calls),
            requests=len(self._requests),
            parked=len(self._parked),
            results=self.ledger.held,
        )

    # --- events

    def _take(self, event: Event) -> None:
        match event:
            case OpenJob():
                self._handed_out.setdefault(event.job, [])
            case CloseJob():
                self._close(event.job)
            case Build():
                self._build(event)
            case CancelBuild():
                for request in [r for r in self._requests.values() if r.id == event.request]:
                    self.cancel(request.pipe)
            case Answered():
                self._answered(event)
            case Failed():
                self._failed(event)
            case InputsLost():
                work = self._calls.pop(event.call, None)
                if isinstance(work, _Work):
                    self._mending.begin(work.op, work.key, event)
            case ResultLost():
                self._lost(event)
            case _:
                assert_never(event)

    def _build(self, event: Build) -> None:
        try:
            output = self.graph.load(event.output, job=event.job, parent=event.parent)
        except LookupError as error:
            self.emit(Finished(request=event.request, error=error))
            return
        pipe = self.want(output)
        self._requests[pipe] = _Request(event.request, event.job or event.parent, pipe)

    def want(self, output: Output) -> Pipe:
        """A request for the result of a living output that no edge makes."""
        edge = self.graph.edge(output)
        assert edge is not None, f"output of a dead vertex wanted: {output.vertex.name}"
        pipe = Pipe(asker=None, target=edge, request=InputRequest(EdgeState.COMPLETE))
        self._incoming.setdefault(edge, []).append(pipe)
        self.signal(edge)
        return pipe

    def _close(self, job: str) -> None:
        self._closing[job] = None
        pending = [r for r in self._requests.values() if r.holder == job]
        for request in pending:
            self.cancel(request.pipe)
        if not pending:
            self._closed(job)

    def _closed(self, job: str) -> None:
        del self._closing[job]
        self._let_go(job)
        self.graph.close_job(job)

    def _let_go(self, holder: str) -> None:
        for result in self._handed_out.pop(holder, ()):
            result.drop()

    def _lost(self, event: ResultLost) -> None:
        state = self.graph.states.get(event.output[0])
        edge = state.edges.get(event.output[1]) if state is not None else None
        if edge is None:
            return
        edge = actual(edge)
        if edge.result is not None and edge.result.value == event.value:
            self.explain(edge, "lost")
            self.graph.replace(edge)

    def _answered(self, event: Answered) -> None:
        match self._calls.pop(event.call, None):
            case _Work(op, key):
                op.answered(key, event.value)
            case _Question(edge):
                if (thinking := self._parked.pop(edge, None)) is not None:
                    self._think(edge, thinking, event.value)
            case _Save(pipe, result, keys):
                self._saved(pipe, result, keys, event.value)

    def _failed(self, event: Failed) -> None:
        match self._calls.pop(event.call, None):
            case _Work(op, key):
                op.failed(key, event.error, canceled=event.canceled)
            case _Question() | _Save() as call:
                raise AssertionError(f"{type(call).__name__} may not fail: {event.error!r}")

    def _saved(self, pipe: Pipe, result: SharedResult, keys: tuple[CacheKey, ...], ids: tuple[str, ...]) -> None:
        for key, id in zip(keys, ids, strict=True):
            key.id = id
        edge = pipe.asker
        assert edge is not None
        if edge.dropped or edge.work_pipe is not pipe:
            result.drop()
            self.deliver(pipe, None, CanceledPipe())
        else:
            self.deliver(pipe, EdgeResult(result, keys), None)

    # --- turns

    def signal(self, edge: Edge) -> None:
        """This edge has news."""
        if not edge.dropped:
            self._waiting[edge] = None

    def _turn(self, edge: Edge) -> None:
        if edge in self._parked or edge.dropped:
            return  # signalled again when it is through thinking
        updates = [pipe for pipe in self._outgoing.get(edge, ()) if pipe.receive()]
        self._think(edge, edge.absorb(updates), None)

    def _think(self, edge: Edge, thinking: Thinking, reply: Reply | None) -> None:
        try:
            question = next(thinking) if reply is None else thinking.send(reply)
        except StopIteration:
            self._settle(edge)
            return
        self._parked[edge] = thinking
        self.emit(AskIndex(call=self._new_call(_Question(edge)), question=question))

    def _settle(self, edge: Edge) -> None:
        outgoing = self._outgoing.get(edge, [])
        edge.has_active = any(not pipe.seen.completed for pipe in outgoing)
        incoming = list(self._incoming.get(edge, ()))
        edge.respond(incoming, list(outgoing), self)
        for pipe in incoming:
            self._pass_on(pipe)
        self._keep_open(edge)
        if any(pipe.sent is not pipe.seen for pipe in self._outgoing.get(edge, ())):
            self.signal(edge)  # answers that came while it was thinking
        if edge.keys_changed:
            edge.keys_changed = False
            self._find_equal(edge)
        self._check_laws(edge)

    def _pass_on(self, pipe: Pipe) -> None:
        if pipe.sent is pipe.seen:
            return
        if pipe.asker is not None:
            self.signal(pipe.asker)
        elif pipe.sent.completed:
            self._conclude(pipe)

    def _keep_open(self, edge: Edge) -> None:
        for table, is_open in ((self._incoming, _unanswered), (self._outgoing, _unseen)):
            pipes = [pipe for pipe in table.get(edge, ()) if is_open(pipe)]
            if pipes:
                table[edge] = pipes
            else:
                table.pop(edge, None)

    def _check_laws(self, edge: Edge) -> None:
        waiting, asking = self._incoming.get(edge), self._outgoing.get(edge)
        if bool(waiting) == bool(asking) or edge.dropped:
            return
        error = BrokenLaw(f"scheduler left {'a request waiting for nothing' if waiting else 'a request for nobody'}: {edge!r}")
        if self._strict:
            raise error
        edge.error = error
        if not edge.failed_once:
            edge.failed_once = True
            self.ask_turn(edge)

    def _conclude(self, pipe: Pipe) -> None:
        if self._mending.concluded(pipe):
            return
        request = self._requests.pop(pipe)
        answer, edge = pipe.sent, pipe.target
        assert isinstance(answer.value, EdgeView) and edge is not None
        result = answer.value.result
        if answer.error is not None or result is None:
            error = answer.error or CanceledPipe()
            self.emit(Finished(request=request.id, error=error, output=edge.output.key))
        else:
            self._handed_out.setdefault(request.holder, []).append(result.shared.hold())
            self.emit(Finished(request=request.id, value=result.value, keys=result.keys, output=edge.output.key))
        if request.holder in self._closing and all(r.holder != request.holder for r in self._requests.values()):
            self._closed(request.holder)

    # --- merging

    def _find_equal(self, edge: Edge) -> None:
        key = None if edge.dropped else edge.index_key()
        other = self._index.find_or_add(key, edge) if key is not None else None
        if other is None:
            return
        mine, theirs = edge.output.vertex, other.output.vertex
        if depends_on(mine, theirs) or depends_on(theirs, mine):
            self.explain(edge, "not merged", because="one depends on the other", other=theirs.digest)
            return
        target, src = (edge, other) if self.graph.owned_by(other, edge) else (other, edge)
        if src.ignore_cache and not target.ignore_cache:
            self.explain(src, "not merged", because="it ignores the cache", other=target.output.vertex.digest)
            return
        self.explain(src, "merged", into=target.output.vertex.digest)
        self._merge(src, target)

    def _merge(self, src: Edge, target: Edge) -> None:
        self._parked.pop(src, None)
        for pipe in self._incoming.pop(src, ()):
            pipe.target = target
            self._incoming.setdefault(target, []).append(pipe)
        for pipe in self._outgoing.pop(src, ()):
            pipe.asker = target
            self._outgoing.setdefault(target, []).append(pipe)
            self.cancel(pipe)
        self.signal(target)
        self.graph.follow(src, target)

    # --- what edges ask for (edge.Requests)

    def ask_input(self, edge: Edge, output: Output, request: InputRequest) -> Pipe:
        target = self.graph.edge(output)
        pipe = self._open(edge, None, target=target, request=request)
        if target is None:
            self.deliver(pipe, None, BrokenLaw(f"input {output.vertex.name!r} of {edge!r} is not alive"))
        else:
            self._incoming.setdefault(target, []).append(pipe)
            self.signal(target)
        return pipe

    def ask_cache_map(self, edge: Edge, index: int) -> Pipe:
        return self._ask(edge, CallKind.CACHE_MAP, lambda op, pipe: op.cache_map(pipe, index))

    def ask_content(self, edge: Edge, dep: Input) -> Pipe:
        assert edge.cache_map is not None and dep.result is not None
        selectors, value = edge.cache_map.rule(dep.index).content or (), dep.result.value
        return self._ask(edge, CallKind.CONTENT, lambda op, pipe: op.content(pipe, dep.index, selectors, value))

    def ask_load(self, edge: Edge, found: FoundRecord) -> Pipe:
        self.explain(edge, "load", record=found.record.id, key=found.key.id)
        return self._ask(edge, CallKind.LOAD, lambda op, pipe: op.load(pipe, edge.output.index, found.record))

    def ask_run(self, edge: Edge) -> Pipe:
        self.explain(edge, "run", must=edge.must_run, ignore_cache=edge.ignore_cache, keys=len(edge.keys))
        return self._ask(edge, CallKind.RUN, lambda op, pipe: op.run(pipe, input_values(edge), tuple(edge.commit_keys())))

    def ask_turn(self, edge: Edge) -> Pipe:
        pipe = self._open(edge, CallKind.TURN)
        self.deliver(pipe, None, None)
        return pipe

    def _ask(self, edge: Edge, kind: CallKind, start: Callable[[SharedOp, Pipe], None]) -> Pipe:
        pipe = self._open(edge, kind)
        op = self.graph.op_of(edge)
        if op is None:
            self.deliver(pipe, None, BrokenLaw(f"{edge!r} is not alive"))
        else:
            pipe.op = op
            start(op, pipe)
        return pipe

    def _open(self, edge: Edge, kind: CallKind | None, *, target: Edge | None = None, request: InputRequest | None = None) -> Pipe:
        pipe = Pipe(asker=edge, target=target, request=request, kind=kind)
        self._outgoing.setdefault(edge, []).append(pipe)
        return pipe

    def cancel(self, pipe: Pipe) -> None:
        if pipe.canceled or pipe.answered:
            return
        pipe.canceled = True
        if pipe.kind is None and pipe.target is not None:
            self.signal(pipe.target)
        elif pipe.op is not None:
            pipe.op.leave(pipe)

    def explain(self, edge: Edge, what: str, **why: object) -> None:
        vertex = edge.output.vertex
        self.trace.add(vertex.digest, vertex.name, edge.output.index, what, why)

    # --- what shared ops ask for (shared_op.Outbox)

    def emit(self, effect: Effect) -> None:
        if isinstance(effect, CancelCall) and effect.call not in self._calls:
            self._mending.abandon(effect.call)
            return
        self._effects.append(effect)

    def _new_call(self, what: _Work | _Question | _Save) -> int:
        self._next_call += 1
        self._calls[self._next_call] = what
        return self._next_call

    def open_call(self, op: SharedOp, key: FlightKey) -> int:
        return self._new_call(_Work(op, key))

    def deliver(self, pipe: Pipe, value: Any, error: BaseException | None) -> None:
        if pipe.answered:
            return
        edge = pipe.asker
        assert edge is not None
        if isinstance(value, SharedResult):  # a loaded result
            if edge.dropped or edge.loading is None:
                value.drop()
                value, error = None, CanceledPipe()
            else:
                value = EdgeResult(value, (edge.loading.key,))
        pipe.finish(value, error)
        self.signal(edge)

    def deliver_run(self, pipe: Pipe, results: list[SharedResult]) -> None:
        edge = pipe.asker
        assert edge is not None
        index = edge.output.index
        if not 0 <= index < len(results):
            error = LookupError(f"vertex {edge.output.vertex.name!r} has {len(results)} outputs, output {index} was asked for")
            self.deliver(pipe, None, error)
            return
        keys = tuple(edge.commit_keys())
        call = self._new_call(_Save(pipe, results[index].hold(), keys))
        self.emit(SaveResult(call=call, vertex=edge.output.vertex, keys=keys, value=results[index].value))

    # --- what the graph asks for (job_graph.GraphHost)

    def new_op(self, vertex: Vertex) -> SharedOp:
        return SharedOp(vertex, self)

    def announce(self, job: str, vertex: Vertex) -> None:
        self.emit(Announce(job=job, vertex=vertex))

    def drop_edge(self, edge: Edge) -> None:
        assert not edge.dropped, f"{edge!r} dropped twice"
        edge.dropped = True
        self._index.release(edge)
        self._waiting.pop(edge, None)
        self._parked.pop(edge, None)
        if edge.result is not None:
            edge.result.shared.drop()

    def forgotten(self, state: VertexState) -> None:
        self._let_go(state.vertex.digest)
        self.emit(Forgotten(digest=state.vertex.digest))


def input_values(edge: Edge) -> tuple[Any, ...]:
    """The values that a run of this edge's vertex starts from."""
    return tuple(dep.result.value for dep in edge.deps if dep.result is not None)


def _unanswered(pipe: Pipe) -> bool:
    return not pipe.sent.completed


def _unseen(pipe: Pipe) -> bool:
    return not pipe.seen.completed
