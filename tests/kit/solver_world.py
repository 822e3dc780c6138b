"""A small world for the solver's core: ops that compute numbers and count how often they were asked, and a cache index in memory.

`World` feeds the effects of a Scheduler back as events, in the order that `choose` gives (oldest first by default), so that a
test or hypothesis can try every interleaving without a clock.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from services.solver.core.cache_key import CacheKey, root_key_id
from services.solver.core.effects import (
    Announce,
    AskIndex,
    Call,
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
from services.solver.core.events import Answered, Build, CancelBuild, CloseJob, Event, Failed, OpenJob
from services.solver.core.questions import FetchRecords, LinksFound, QueryLinks, Question, RecordsFound, Reply
from services.solver.core.scheduler import Scheduler
from services.solver.core.vertex import CacheMap, CacheRecord, ContentSelector, InputRule, Output, Vertex, VertexOptions


def sha(text: str) -> str:
    """A digest of text."""
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


class Canceled(Exception):
    """What a cancelled call of this world ends with."""


@dataclass(eq=False)
class FakeOp:
    """What a vertex does, and how often. `value` plus the sum of the inputs is every output's value.

    `seeds`: one cache map each. `content`: inputs with a content key. `hold`: kinds of calls that wait for `World.let`.
    """

    value: int = 0
    seeds: tuple[str, ...] = ()
    selectors: dict[int, str] = field(default_factory=dict)
    content: dict[int, Callable[[Any], str]] = field(default_factory=dict)
    outputs: int = 1
    run_error: str = ""
    map_error: str = ""
    hold: frozenset[str] = frozenset()
    nested: Output | None = None
    maps: int = 0
    runs: int = 0
    hashes: int = 0

    def cache_map(self, vertex: Vertex, index: int) -> CacheMap:
        seeds = self.seeds or (f"seed of {vertex.name}",)
        rules = tuple(
            InputRule(selector=self.selectors.get(i, ""), content=(ContentSelector(),) if i in self.content else None)
            for i in range(len(vertex.inputs))
        )
        return CacheMap(digest=sha(seeds[index]), inputs=rules, last=index == len(seeds) - 1)


def vtx(name: str, *inputs: Output | Vertex, ignore_cache: bool = False, **op: Any) -> Vertex:
    """A vertex; its digest follows from its name only, as if nothing else were in the op."""
    outs = tuple(i if isinstance(i, Output) else Output(i) for i in inputs)
    return Vertex(sha(name), name, outs, VertexOptions(ignore_cache=ignore_cache), FakeOp(**op))


def op_of(vertex: Vertex) -> FakeOp:
    """The counters of a vertex."""
    op = vertex.op
    assert isinstance(op, FakeOp)
    return op


class MemoryIndex:
    """The cache index: links from key ids to key ids, records by key id. The same questions as the real one answers."""

    def __init__(self) -> None:
        self.links: dict[tuple[str, int, int, str, str], dict[str, None]] = {}
        self.records: dict[str, dict[str, CacheRecord]] = {}
        self.roots: dict[str, None] = {}
        self._count = 0

    def ask(self, question: Question) -> Reply:
        match question:
            case QueryLinks():
                return LinksFound(key_ids=tuple(self._query(question)))
            case FetchRecords():
                known = question.key_id in self.records or question.key_id in self.roots
                return RecordsFound(exists=known, records=tuple(self.records.get(question.key_id, {}).values()))

    def _query(self, q: QueryLinks) -> dict[str, None]:
        found: dict[str, None] = {}
        places = [(key_id, q.input, q.output, q.digest, selector) for key_id, selector in q.links]
        for place in places:
            found.update(self.links.get(place, {}))
        if found:
            for place in places:
                self.links.setdefault(place, {}).update(found)
        return found

    def save(self, key: CacheKey, value: Any) -> str:
        id = key.id if not key.inputs else self._id_from_inputs(key)
        self._count += 1
        self.records.setdefault(id, {})[f"r{self._count}"] = CacheRecord(id=f"r{self._count}", created_at=self._count, payload=value)
        for position, sources in enumerate(key.inputs):
            for source in sources:
                self.roots[source.key.id] = None
                self.links.setdefault((source.key.id, position, key.output, key.digest, source.selector), {})[id] = None
        return id

    def _id_from_inputs(self, key: CacheKey) -> str:
        common: dict[str, None] | None = None
        for position, sources in enumerate(key.inputs):
            for source in sources:
                there = self.links.get((source.key.id, position, key.output, key.digest, source.selector), {})
                common = dict(there) if common is None else {k: None for k in common if k in there}
        if common:
            return next(iter(common))
        self._count += 1
        return f"k{self._count}"

    def drop(self, value: Any) -> None:
        """Forget every record of this value."""
        for records in self.records.values():
            for id in [id for id, r in records.items() if r.payload == value]:
                del records[id]

    def root_exists(self, seed: str, output: int = 0) -> bool:
        return root_key_id(sha(seed), output) in self.records


class World:
    """Runs a scheduler to the end of everything that may end."""

    def __init__(self, index: MemoryIndex | None = None, *, choose: Callable[[int], int] | None = None) -> None:
        self.scheduler = Scheduler(strict=True)
        self.index = index or MemoryIndex()
        self.open: dict[int, Call] = {}
        self.canceled: dict[int, None] = {}
        self.results: dict[str, Finished] = {}
        self.progress: list[Progress] = []
        self.heard: list[tuple[str, str]] = []
        self.released: list[Any] = []
        self.forgotten: list[str] = []
        self.fail_loads: dict[Any, None] = {}
        self.loads = 0
        self.order: list[str] = []
        self._choose = choose or (lambda n: 0)
        self._held: dict[int, Call] = {}
        self._let: dict[str, None] = {}
        self._nested: dict[str, tuple[int, Vertex]] = {}
        self._count = 0

    # --- what tests say

    def build(self, output: Output | Vertex, job: str) -> str:
        """Ask for a result; the id of the request."""
        self._count += 1
        request = f"req{self._count}"
        self.send(OpenJob(job=job))
        self.send(Build(request=request, output=output if isinstance(output, Output) else Output(output), job=job))
        return request

    def solve(self, output: Output | Vertex, job: str) -> Any:
        """Build and run until it is answered; its value, or raises its error."""
        request = self.build(output, job)
        self.run()
        return self.value(request)

    def value(self, request: str) -> Any:
        """The value of a finished request."""
        done = self.results[request]
        if done.error is not None:
            raise done.error
        return done.value

    def cancel(self, request: str) -> None:
        self.send(CancelBuild(request=request))

    def close(self, *jobs: str) -> None:
        for job in jobs:
            self.send(CloseJob(job=job))
        self.run()

    def let(self, name: str) -> None:
        """Let the held calls of the vertex with this name go on, now and later."""
        self._let[name] = None
        for call in [c for c, effect in self._held.items() if _name(effect) == name]:
            self.open[call] = self._held.pop(call)

    def take_held(self, name: str) -> list[int]:
        """Take away the held calls of this vertex; the test answers them itself."""
        calls = [call for call, effect in self._held.items() if _name(effect) == name]
        for call in calls:
            del self._held[call]
        return calls

    def fail_held(self, name: str, error: Exception) -> None:
        """The held calls of this vertex end in an error."""
        for call in self.take_held(name):
            self.send(Failed(call=call, error=error))

    def held(self) -> list[str]:
        """`kind name` of the calls that wait for `let`."""
        return [f"{_kind(effect)} {_name(effect)}" for effect in self._held.values()]

    # --- the loop

    def send(self, event: Event) -> None:
        for effect in self.scheduler.handle(event):
            self._take(effect)

    def run(self, limit: int = 100_000) -> None:
        """Answer open calls until none is left."""
        for _ in range(limit):
            if not self.step():
                return
        raise AssertionError("the scheduler never comes to rest")

    def step(self) -> bool:
        """Answer one open call; False when there is none."""
        if not self.open:
            return False
        calls = list(self.open)
        call = calls[self._choose(len(calls))]
        self._answer(call, self.open.pop(call))
        return True

    def _take(self, effect: Effect) -> None:
        match effect:
            case CancelCall():
                self.canceled[effect.call] = None
                if effect.call in self._held:
                    self.open[effect.call] = self._held.pop(effect.call)
            case Announce():
                self.heard.append((effect.job, effect.vertex.name))
            case Progress():
                self.progress.append(effect)
            case Finished():
                assert effect.request not in self.results, "answered twice"
                self.results[effect.request] = effect
                if effect.request in self._nested:
                    self._nested_done(effect)
            case Release():
                self.released.append(effect.value)
            case Forgotten():
                self.forgotten.append(effect.digest)
            case _:
                self._hold(effect)

    def _hold(self, effect: Call) -> None:
        vertex = None if isinstance(effect, AskIndex) else effect.vertex
        if vertex is not None and _kind(effect) in op_of(vertex).hold and vertex.name not in self._let:
            self._held[effect.call] = effect
        else:
            self.open[effect.call] = effect

    def _answer(self, call: int, effect: Call) -> None:
        if isinstance(effect, AskIndex):
            self.send(Answered(call=call, value=self.index.ask(effect.question)))
        elif isinstance(effect, SaveResult):
            self.send(Answered(call=call, value=tuple(self.index.save(key, effect.value) for key in effect.keys)))
        elif call in self.canceled:
            self.send(Failed(call=call, error=Canceled(), canceled=True))
        else:
            self._work(call, effect)

    def _work(self, call: int, effect: ComputeCacheMap | HashContent | LoadResult | Run) -> None:
        op = op_of(effect.vertex)
        self.order.append(f"{_kind(effect)} {effect.vertex.name}")
        match effect:
            case ComputeCacheMap():
                op.maps += 1
                answer: Event = (
                    Failed(call=call, error=RuntimeError(op.map_error))
                    if op.map_error
                    else Answered(call=call, value=op.cache_map(effect.vertex, effect.index))
                )
            case HashContent():
                op.hashes += 1
                answer = Answered(call=call, value=op.content[effect.input](effect.value))
            case LoadResult():
                self.loads += 1
                bad = effect.record.payload in self.fail_loads
                answer = Failed(call=call, error=RuntimeError("gone")) if bad else Answered(call=call, value=effect.record.payload)
            case Run():
                op.runs += 1
                if op.nested is not None:
                    return self._nest(call, effect.vertex, op.nested)
                total = op.value + sum(effect.inputs)
                answer = (
                    Failed(call=call, error=RuntimeError(op.run_error))
                    if op.run_error
                    else Answered(call=call, value=(total,) * op.outputs)
                )
        self.send(answer)

    def _nest(self, call: int, vertex: Vertex, output: Output) -> None:
        self._count += 1
        request = f"nested{self._count}"
        self._nested[request] = (call, vertex)
        self.send(Build(request=request, output=output, parent=vertex.digest))

    def _nested_done(self, done: Finished) -> None:
        call, _ = self._nested.pop(done.request)
        if done.error is not None:
            self.send(Failed(call=call, error=done.error))
        else:
            self.send(Answered(call=call, value=(done.value,)))


def _kind(effect: Call) -> str:
    return {ComputeCacheMap: "map", HashContent: "hash", LoadResult: "load", Run: "run", AskIndex: "ask", SaveResult: "save"}[type(effect)]


def _name(effect: Call) -> str:
    return "" if isinstance(effect, AskIndex) else effect.vertex.name


def counts(vertices: Sequence[Vertex]) -> list[tuple[int, int]]:
    """(cache maps, runs) of each."""
    return [(op_of(v).maps, op_of(v).runs) for v in vertices]
