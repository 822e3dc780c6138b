"""Who is about to run what. A vertex is known by the keys its result will have, so equal work of different builds and solvers meets here.

Like a cache key, a claim is found when every input can be named in a way that it was claimed by (solver/edge index of BuildKit, for
the whole fleet). Its owner releases it, somebody finds the owner gone and says so, or nothing was heard of the owner for `LIFE`.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

MAX_CLAIMS = 20_000
LIFE = 20.0
"""Seconds without a word from a solver after which its claims end. Solvers that run something say so each 5 s."""

Names = Sequence[Sequence[str]]
"""For each input of a vertex, everything that it may be called."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """`run` is unique in the fleet."""

    solver: str
    run: str


class RunClaims:
    """All claims. Beyond a bound the oldest are forgotten: then something may run twice."""

    def __init__(self, limit: int = MAX_CLAIMS) -> None:
        self._limit = limit
        self._claims: OrderedDict[str, tuple[Claim, frozenset[str]]] = OrderedDict()
        self._by_name: dict[str, dict[str, None]] = {}
        self._heard: dict[str, float] = {}  # solvers with claims, and when they last said something

    def hear(self, solver: str, now: float) -> None:
        """This solver lives."""
        self._heard[solver] = now

    def expire(self, now: float) -> None:
        """End the claims of solvers that fell silent."""
        silent = {solver for solver, at in self._heard.items() if now - at > LIFE}
        for run in [run for run, (claim, _) in self._claims.items() if claim.solver in silent]:
            self.release(run)
        for solver in silent:
            del self._heard[solver]

    def claim(self, names: Names, wanted: Claim, *, gone: str = "") -> Claim:
        """The claim that stands for `names` now: an earlier one, unless it is `gone`, or else `wanted`. At least one input has a name."""
        if gone:
            self.release(gone)
        earlier = self.find(names)
        if earlier is not None:
            return earlier
        flat = frozenset(name for alternatives in names for name in alternatives)
        self._claims[wanted.run] = (wanted, flat)
        for name in flat:
            self._by_name.setdefault(name, {})[wanted.run] = None
        if len(self._claims) > self._limit:
            self.release(next(iter(self._claims)))
        return wanted

    def find(self, names: Names) -> Claim | None:
        """A claim that every input leads to."""
        runs: dict[str, None] | None = None
        for alternatives in names:
            reached = {run for name in alternatives for run in self._by_name.get(name, ())}
            runs = dict.fromkeys(sorted(reached) if runs is None else [run for run in runs if run in reached])
            if not runs:
                return None
        return self._claims[next(iter(runs))][0] if runs else None

    def release(self, run: str) -> None:
        """It has ended. Unknown runs are fine."""
        claim = self._claims.pop(run, None)
        if claim is None:
            return
        for name in claim[1]:
            runs = self._by_name[name]
            del runs[run]
            if not runs:
                del self._by_name[name]

    def __len__(self) -> int:
        return len(self._claims)
