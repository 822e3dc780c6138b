"""Notes who asks what while a build runs, for its provenance (llbsolver/provenance.go, provenance_store.go)."""

from collections.abc import Mapping

from services.solver.core.provenance.callers import Caller, Producers, Request
from services.solver.core.provenance.sources import Sources
from services.solver.service.bounds import Bound
from services.solver.service.results import Handle
from shared.errors import BuildFailed, BuildmeshError
from shared.llb import decode_definition
from shared.run import new_id

NESTING = 32  # frontends that run frontends that run …
MOST = 10_000
MOST_BYTES = 64 << 20
"""Of all their options: provenance tells of each."""


class Ledger:
    """Notes who asks what while a build runs."""

    def __init__(self, root: Request, producers: Producers) -> None:
        self.client = Caller(root=root)
        self._callers = {"": self.client}
        self._producers = producers
        self._entries: list[tuple[str, int]] = []
        self._bound = Bound(what="runs of frontends", most=MOST, most_bytes=MOST_BYTES)

    def caller(self, id: str) -> Caller:
        """The client for one that this build does not know: a frontend of a solver that is gone."""
        return self._callers.get(id, self.client)

    def begin(self, by: Caller, request: Request) -> Caller:
        """A frontend is about to run. Raises BuildFailed when it is too deep, Exhausted when there were too many."""
        if by.depth >= NESTING:
            raise BuildFailed(f"frontends nested deeper than {NESTING}")
        self._bound.take(1, sum(len(key) + len(value) for key, value in request.options.items()))
        started = by.frontend(new_id(), request)
        self._callers[started.id] = started
        return started

    def end(self, by: Caller, started: Caller, handles: list[Handle]) -> None:
        """It is done: its results are known to come from it, also when they are handed to another frontend."""
        started.handles += [handle.id for handle in handles]
        by.below.append(started)
        for handle in handles:
            self.made(started, handle)

    def made(self, by: Caller, handle: Handle) -> None:
        """A result whose definition may become the input of another request."""
        head = handle.head
        if by.request is not None and head:
            self._entries.append(self._producers.add(head, by.asked(Sources(), self._producers)))

    def close(self) -> None:
        """The build is over."""
        for entry in self._entries:
            self._producers.forget(entry)
        self._entries.clear()


def inputs_of(definitions: Mapping[str, bytes]) -> dict[str, str]:
    """Digests of the last ops of frontend inputs; those that can't be read have none."""
    found: dict[str, str] = {}
    for name, raw in definitions.items():
        try:
            result = decode_definition(raw).result
        except BuildmeshError:
            continue
        if result is not None:
            found[name] = result.digest
    return found
