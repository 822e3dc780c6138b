"""Runs under way as messages ↔ claims. Who answers holds the index too: a stored result and a claim never miss each other."""

import time
from collections.abc import Callable

from services.cachestore.adapters.questions import MAX_NODES, Questions, at, check_text
from services.cachestore.core.key_graph import KeyGraph
from services.cachestore.core.run_claims import Claim, Names, RunClaims
from shared.bus.calls import Served
from shared.errors import InvalidInput
from shared.model import Ref
from shared.wire.messages import ClaimRun, Done, ReleaseRuns, RunClaimed


class Claims:
    """Sync handlers. `usable(ref)`: whether a stored result may be handed out now. `clock` is monotonic, in seconds."""

    def __init__(
        self,
        graph: KeyGraph,
        questions: Questions,
        claims: RunClaims,
        *,
        usable: Callable[[Ref | None], bool],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._graph, self._questions, self._claims, self._usable, self._clock = graph, questions, claims, usable, clock

    def claim(self, order: ClaimRun, served: Served) -> RunClaimed:
        """ClaimRun → RunClaimed."""
        check_text(order.solver, order.run, order.gone)
        if not order.run or not order.keys:
            raise InvalidInput("a claim needs a run and a key")
        ids = self._questions.ids(order.nodes)
        keys = [at(ids, index) for index in order.keys]
        if order.single and not order.fresh:
            rows = (row for key in keys for row in self._graph.records(key) if self._usable(row.ref))
            if (row := next(rows, None)) is not None:
                return RunClaimed(found=True, ref=row.ref, key_ids=tuple(keys))
        self._claims.hear(order.solver, self._clock())
        self._claims.expire(self._clock())
        names = _names(order, ids)
        standing = self._claims.claim(names, Claim(solver=order.solver, run=order.run), gone=order.gone)
        new = not self._graph.exists(keys[0])
        return RunClaimed(solver=standing.solver, run=standing.run, key_ids=tuple(keys), new_key=new)

    def count(self) -> int:
        """Those of solvers that live."""
        self._claims.expire(self._clock())
        return len(self._claims)

    def end(self) -> None:
        """Another cachestore answers now."""
        self._claims = RunClaims()

    def release(self, order: ReleaseRuns, served: Served) -> Done:
        """ReleaseRuns → Done."""
        if len(order.runs) > MAX_NODES:
            raise InvalidInput(f"{len(order.runs)} runs at once are too many")
        if order.solver:
            check_text(order.solver)
            self._claims.hear(order.solver, self._clock())
        for run in order.runs:
            self._claims.release(run)
        return Done()


def _names(order: ClaimRun, ids: list[str]) -> Names:
    """Fresh runs meet only fresh ones."""
    kind = "fresh" if order.fresh else ""
    main = order.nodes[order.keys[0]]
    if not main.deps:
        return [[f"{kind}\0{at(ids, index)}" for index in order.keys]]
    return [
        [f"{kind}\0{main.digest}\0{number}\0{at(ids, dep.node)}\0{dep.selector}" for dep in alternatives]
        for number, alternatives in enumerate(main.deps)
    ]
