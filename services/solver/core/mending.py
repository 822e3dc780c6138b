"""When the inputs of a call are lost (their executor died), make them again and call again; nobody else notices."""

from dataclasses import dataclass, field
from typing import Protocol

from services.solver.core.edge import Edge
from services.solver.core.edge_rules import Input
from services.solver.core.effects import Effect, HashContent, Run
from services.solver.core.events import InputsLost
from services.solver.core.job_graph import JobGraph
from services.solver.core.pipe import CanceledPipe, EdgeView, Pipe
from services.solver.core.result import EdgeResult
from services.solver.core.shared_op import FlightKey, SharedOp
from services.solver.core.vertex import Output

MAX_ATTEMPTS = 8


class MendingHost(Protocol):
    """What mending needs of the scheduler."""

    graph: JobGraph

    def want(self, output: Output) -> Pipe: ...

    def cancel(self, pipe: Pipe) -> None: ...

    def explain(self, edge: Edge, what: str, **why: object) -> None: ...


@dataclass(slots=True, eq=False)
class _Mend:
    op: SharedOp
    key: FlightKey
    lost_call: int
    pending: dict[Pipe, int] = field(default_factory=dict)
    error: BaseException | None = None


class Mending:
    """Inputs that are being made again, by the pipes that wait for them."""

    def __init__(self, host: MendingHost) -> None:
        self._host = host
        self._by_pipe: dict[Pipe, _Mend] = {}

    def begin(self, op: SharedOp, key: FlightKey, event: InputsLost) -> None:
        """The call of this flight lost inputs. After too many attempts it fails with the error it had."""
        flight = op.flights[key]
        wrong = [i for i in event.inputs if not 0 <= i < len(op.vertex.inputs)]
        if flight.canceling or flight.attempts >= MAX_ATTEMPTS or wrong or not event.inputs:
            op.failed(key, CanceledPipe() if flight.canceling else event.error, canceled=flight.canceling)
            return
        mend = _Mend(op, key, event.call)
        for index in dict.fromkeys(event.inputs):
            self._remake(mend, index)

    def _remake(self, mend: _Mend, index: int) -> None:
        output = mend.op.vertex.inputs[index]
        edge = self._host.graph.edge(output)
        assert edge is not None
        used = [dep.result for asker in self._askers(mend) if (dep := _dep(asker, index)) is not None]
        if edge.result is not None and edge.result in used:
            self._host.explain(edge, "lost", noticed_by=mend.op.vertex.name)
            self._host.graph.replace(edge)
        pipe = self._host.want(output)
        mend.pending[pipe] = index
        self._by_pipe[pipe] = mend

    def _askers(self, mend: _Mend) -> list[Edge]:
        """Every edge that may still use the lost results for this vertex."""
        edges = [pipe.asker for pipe in mend.op.flights[mend.key].waiting if pipe.asker is not None]
        state = self._host.graph.states.get(mend.op.vertex.digest)
        edges += state.edges.values() if state is not None else ()
        return list(dict.fromkeys(edges))

    def concluded(self, pipe: Pipe) -> bool:
        """True when this answered pipe was one of ours; when it was the last of its mend, the call starts again."""
        mend = self._by_pipe.pop(pipe, None)
        if mend is None:
            return False
        index, answer = mend.pending.pop(pipe), pipe.sent
        result = answer.value.result if isinstance(answer.value, EdgeView) else None
        if answer.error is not None or result is None:
            mend.error = mend.error or answer.error or CanceledPipe()
        else:
            self._put(mend, index, result)
        if not mend.pending:
            self._end(mend)
        return True

    def _put(self, mend: _Mend, index: int, result: EdgeResult) -> None:
        for edge in self._askers(mend):
            if (dep := _dep(edge, index)) is not None and dep.result is not None:
                dep.result = result

    def _end(self, mend: _Mend) -> None:
        flight = mend.op.flights[mend.key]
        if flight.canceling:
            mend.op.failed(mend.key, CanceledPipe(), canceled=True)
        elif mend.error is not None:
            mend.op.failed(mend.key, mend.error, canceled=isinstance(mend.error, CanceledPipe))
        else:
            edge = next(pipe.asker for pipe in flight.waiting if pipe.asker is not None)
            mend.op.relaunch(mend.key, lambda call: _again(mend, edge, call))

    def abandon(self, call: int) -> None:
        """Nobody waits for the call any more."""
        for pipe in [p for p, mend in self._by_pipe.items() if mend.lost_call == call]:
            self._host.cancel(pipe)


def _dep(edge: Edge, index: int) -> Input | None:
    deps = edge.deps
    return deps[index] if index < len(deps) else None


def _again(mend: _Mend, edge: Edge, call: int) -> Effect:
    vertex = mend.op.vertex
    if mend.key[0] == "content":
        dep = edge.deps[mend.key[1]]
        assert edge.cache_map is not None and dep.result is not None
        selectors = edge.cache_map.rule(dep.index).content or ()
        return HashContent(call=call, vertex=vertex, input=dep.index, selectors=selectors, value=dep.result.value)
    values = tuple(dep.result.value for dep in edge.deps if dep.result is not None)
    return Run(call=call, vertex=vertex, inputs=values, keys=tuple(edge.commit_keys()))
