"""Which vertices are alive and for whom: jobs (builds) and running ops (parents of a sub-solve) share them by digest.

BuildKit: solver/jobs.go (loadUnlocked, setEdge, addJobs, deleteIfUnreferenced, hasOwner).
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from services.solver.core.edge import Edge
from services.solver.core.shared_op import SharedOp
from services.solver.core.vertex import Digest, Output, Vertex


@dataclass(slots=True, eq=False)
class VertexState:
    """A living vertex. Ordered dicts stand for sets, so that every run takes the same path."""

    vertex: Vertex
    op: SharedOp
    jobs: dict[str, None] = field(default_factory=dict)
    parents: dict[Digest, None] = field(default_factory=dict)
    children: dict[Digest, None] = field(default_factory=dict)
    edges: dict[int, Edge] = field(default_factory=dict)
    heard_by: dict[str, None] = field(default_factory=dict)


class GraphHost(Protocol):
    """What the graph needs of the scheduler."""

    def new_op(self, vertex: Vertex) -> SharedOp: ...

    def announce(self, job: str, vertex: Vertex) -> None: ...

    def drop_edge(self, edge: Edge) -> None: ...

    def forgotten(self, state: VertexState) -> None: ...


def without_cache(digest: Digest) -> Digest:
    """The digest under which an ignore-cache vertex lives beside an equal one that uses the cache."""
    return "sha256:" + hashlib.sha256(f"{digest}-ignorecache".encode()).hexdigest()


def in_order(root: Vertex) -> Iterator[Vertex]:
    """Every vertex below and including `root`, inputs first. Deep graphs are no problem."""
    seen: set[int] = set()
    stack: list[tuple[Vertex, bool]] = [(root, False)]
    while stack:
        vertex, expanded = stack.pop()
        if expanded:
            yield vertex
        elif id(vertex) not in seen:
            seen.add(id(vertex))
            stack.append((vertex, True))
            stack.extend((out.vertex, False) for out in reversed(vertex.inputs))


def depends_on(vertex: Vertex, other: Vertex) -> bool:
    """True when living `other` is `vertex` or below it. Only vertices higher than it are looked at."""
    if vertex.digest == other.digest:
        return True
    pending, seen = [vertex], {vertex.digest}
    while pending:
        for out in pending.pop().inputs:
            below = out.vertex
            if below.digest == other.digest:
                return True
            if below.height > other.height and below.digest not in seen:
                seen.add(below.digest)
                pending.append(below)
    return False


def actual(edge: Edge) -> Edge:
    """The edge that this one follows after merges; itself if it was never merged."""
    while edge.owner is not None:
        edge = edge.owner
    return edge


class JobGraph:
    """All living vertices of one solver."""

    def __init__(self, host: GraphHost) -> None:
        self._host = host
        self.states: dict[Digest, VertexState] = {}

    # --- loading

    def load(self, root: Output, *, job: str = "", parent: Digest = "") -> Output:
        """Make `root` and everything below it alive for the job or the parent; the same outputs over living vertices."""
        if parent and parent not in self.states:
            raise LookupError(f"inactive parent {parent}")
        living: dict[int, Vertex] = {}
        for vertex in in_order(root.vertex):
            inputs = tuple(Output(living[id(out.vertex)], out.index) for out in vertex.inputs)
            state = self._state_for(vertex, inputs)
            self._attach(state, job, parent)
            living[id(vertex)] = state.vertex
        return Output(living[id(root.vertex)], root.index)

    def _state_for(self, vertex: Vertex, inputs: tuple[Output, ...]) -> VertexState:
        shifted = without_cache(vertex.digest)
        if (state := self.states.get(shifted)) is not None:
            return state
        digest = vertex.digest
        state = self.states.get(digest)
        if state is not None:
            if state.vertex.options.ignore_cache or not vertex.options.ignore_cache:
                return state
            digest = shifted
        height = 1 + max((out.vertex.height for out in inputs), default=0)
        alive = Vertex(digest, vertex.name, inputs, vertex.options, vertex.op, vertex.client_digest, height)
        state = self.states[digest] = VertexState(alive, self._host.new_op(alive))
        return state

    def _attach(self, state: VertexState, job: str, parent: Digest) -> None:
        digest = state.vertex.digest
        if job:
            state.jobs[job] = None
        if parent and parent != digest and parent not in state.parents:
            state.parents[parent] = None
            self.states[parent].children[digest] = None
        self.announce_to(state, self.jobs_of(digest))

    def announce_to(self, state: VertexState, jobs: Iterable[str]) -> None:
        """Let these jobs hear of the vertex, each once."""
        for job in jobs:
            if job not in state.heard_by:
                state.heard_by[job] = None
                self._host.announce(job, state.vertex)

    def jobs_of(self, digest: Digest) -> list[str]:
        """All jobs that need the vertex, also through the ops that run it as a sub-solve; their sessions are its session group."""
        jobs: dict[str, None] = {}
        pending, seen = [digest], {digest}
        while pending:
            state = self.states.get(pending.pop(0))
            if state is None:
                continue
            jobs.update(state.jobs)
            pending.extend(p for p in state.parents if p not in seen)
            seen.update(state.parents)
        return list(jobs)

    # --- edges

    def edge(self, output: Output) -> Edge | None:
        """The edge that answers for this output; None when its vertex is not alive."""
        state = self.states.get(output.vertex.digest)
        if state is None:
            return None
        edge = state.edges.get(output.index)
        if edge is None:
            edge = state.edges[output.index] = Edge(Output(state.vertex, output.index))
        return actual(edge)

    def below(self, output: Output) -> list[VertexState]:
        """The living vertex of `output` and all that it needs, as they were scheduled; inputs first. Empty when it is not alive."""
        places = (output.vertex.digest, without_cache(output.vertex.digest))
        alive = (self.states.get(digest) for digest in (reversed(places) if output.vertex.options.ignore_cache else places))
        root = next((state for state in alive if state is not None), None)
        if root is None:
            return []
        return [state for vertex in in_order(root.vertex) if (state := self.states.get(vertex.digest)) is not None]

    def op_of(self, edge: Edge) -> SharedOp | None:
        """The shared work of an edge's vertex."""
        state = self.states.get(edge.output.vertex.digest)
        return state.op if state is not None else None

    def follow(self, src: Edge, target: Edge) -> None:
        """`src` was merged into `target`: everybody who holds the one holds the other now."""
        state = self.states.get(src.output.vertex.digest)
        if state is None:
            return
        target.extra_owners += src.extra_owners + 1
        src.owner = target
        self._host.drop_edge(src)
        goal = self.states.get(target.output.vertex.digest)
        if goal is None:
            return
        self._add_jobs(goal, list(state.jobs))
        self.announce_to(goal, self.jobs_of(state.vertex.digest))

    def _add_jobs(self, start: VertexState, jobs: list[str]) -> None:
        """These jobs hold `start` and everything it is made of, merged or not."""
        pending, seen = [start], {start.vertex.digest}
        while pending:
            state = pending.pop()
            state.jobs.update(dict.fromkeys(jobs))
            for out in state.vertex.inputs:
                found = [out.vertex.digest]
                edge = self.edge(out)
                if edge is not None:
                    found.append(edge.output.vertex.digest)
                for digest in found:
                    if digest not in seen and digest in self.states:
                        seen.add(digest)
                        pending.append(self.states[digest])

    def owned_by(self, target: Edge, owner: Edge) -> bool:
        """True when an edge of `target`'s vertex already follows, however indirectly, an edge of `owner`'s vertex."""
        goal = owner.output.vertex.digest
        pending, seen = [target.output.vertex.digest], set[Digest]()
        while pending:
            digest = pending.pop()
            if digest in seen or (state := self.states.get(digest)) is None:
                continue
            seen.add(digest)
            for edge in state.edges.values():
                if edge.owner is not None:
                    if edge.owner.output.vertex.digest == goal and goal in self.states:
                        return True
                    pending.append(edge.owner.output.vertex.digest)
        return False

    def replace(self, lost: Edge) -> Edge:
        """A fresh edge in the place of one whose result is lost; those that followed the old one follow it."""
        fresh = Edge(lost.output)
        fresh.extra_owners = lost.extra_owners
        state = self.states[lost.output.vertex.digest]
        state.edges[lost.output.index] = fresh
        lost.owner = fresh
        state.op.forget_results()
        self._host.drop_edge(lost)
        return fresh

    # --- letting go

    def close_job(self, job: str) -> None:
        """The job needs nothing any more."""
        for digest in list(self.states):
            state = self.states.get(digest)
            if state is None:
                continue
            state.heard_by.pop(job, None)
            if job in state.jobs:
                del state.jobs[job]
                self._collect(digest)

    def _collect(self, digest: Digest) -> None:
        pending = [digest]
        while pending:
            digest = pending.pop()
            state = self.states.get(digest)
            if state is None or state.jobs or state.parents:
                continue
            for child in state.children:
                if (below := self.states.get(child)) is not None:
                    below.parents.pop(digest, None)
                    pending.append(child)
            del self.states[digest]
            self._release(state)

    def _release(self, state: VertexState) -> None:
        for edge in state.edges.values():
            owner = actual(edge)
            if owner.extra_owners > 0:
                owner.extra_owners -= 1
            else:
                self._host.drop_edge(owner)
        state.op.release()
        self._host.forgotten(state)
