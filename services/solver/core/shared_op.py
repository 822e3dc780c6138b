"""The work of one vertex, shared by its outputs and all jobs: each piece is called once and remembered.

Several may wait for a call; it is cancelled when the last of them leaves. Errors are remembered too, but for those of a
cancelled call. BuildKit: solver/jobs.go (sharedOp), util/flightcontrol.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from services.solver.core.cache_key import CacheKey
from services.solver.core.effects import CancelCall, ComputeCacheMap, Effect, HashContent, LoadResult, Progress, Run
from services.solver.core.pipe import CanceledPipe, Pipe
from services.solver.core.result import Ledger, SharedResult
from services.solver.core.vertex import CacheMap, CacheRecord, ContentSelector, Vertex

FlightKey = tuple[str, int]


class Outbox(Protocol):
    """Where a SharedOp puts what it wants done; the scheduler."""

    ledger: Ledger

    def emit(self, effect: Effect) -> None: ...

    def open_call(self, op: "SharedOp", key: FlightKey) -> int: ...

    def deliver(self, pipe: Pipe, value: Any, error: BaseException | None) -> None: ...

    def deliver_run(self, pipe: Pipe, results: list[SharedResult]) -> None: ...


@dataclass(slots=True, eq=False, kw_only=True)
class Flight:
    """A call under way. `late` came after the cancel; they get a new call when this one has ended."""

    call: int
    start: Callable[[int], Effect]
    waiting: list[Pipe]
    canceling: bool = False
    late: list[Pipe] = field(default_factory=list)
    attempts: int = 1


class SharedOp:
    """Memory and flights of one vertex."""

    def __init__(self, vertex: Vertex, outbox: Outbox) -> None:
        self.vertex = vertex
        self._out = outbox
        self._maps: list[CacheMap] = []
        self._results: list[SharedResult] | None = None
        self._content: dict[int, str] = {}
        self._errors: dict[FlightKey, BaseException] = {}
        self.flights: dict[FlightKey, Flight] = {}

    def cache_map(self, pipe: Pipe, index: int) -> None:
        """Answer `pipe` with cache map number `index`."""
        if index < len(self._maps):
            return self._out.deliver(pipe, self._maps[index], None)
        number = len(self._maps)
        self._fly(("cache_map", index), pipe, lambda call: ComputeCacheMap(call=call, vertex=self.vertex, index=number))

    def content(self, pipe: Pipe, index: int, selectors: tuple[ContentSelector, ...], value: Any) -> None:
        """Answer `pipe` with the content digest of input `index`."""
        if index in self._content:
            return self._out.deliver(pipe, self._content[index], None)

        def start(call: int) -> Effect:
            return HashContent(call=call, vertex=self.vertex, input=index, selectors=selectors, value=value)

        self._fly(("content", index), pipe, start)

    def load(self, pipe: Pipe, output: int, record: CacheRecord) -> None:
        """Answer `pipe` with the stored result."""
        self._fly(("load", output), pipe, lambda call: LoadResult(call=call, vertex=self.vertex, record=record))

    def run(self, pipe: Pipe, inputs: tuple[Any, ...], keys: tuple[CacheKey, ...]) -> None:
        """Answer `pipe` with the results of running the op, which will be stored under `keys`."""
        if self._results is not None:
            return self._out.deliver_run(pipe, self._results)
        self._fly(("run", 0), pipe, lambda call: Run(call=call, vertex=self.vertex, inputs=inputs, keys=keys))

    def _fly(self, key: FlightKey, pipe: Pipe, start: Callable[[int], Effect]) -> None:
        if (error := self._errors.get(key)) is not None:
            return self._out.deliver(pipe, None, error)
        flight = self.flights.get(key)
        if flight is None:
            self._launch(key, [pipe], start)
        elif flight.canceling:
            flight.late.append(pipe)
            flight.start = start
        else:
            flight.waiting.append(pipe)

    def _launch(self, key: FlightKey, waiting: list[Pipe], start: Callable[[int], Effect]) -> None:
        call = self._out.open_call(self, key)
        self.flights[key] = Flight(call=call, start=start, waiting=waiting)
        if self._shows(key):
            self._out.emit(Progress(vertex=self.vertex, completed=False, cached=key[0] == "load"))
        self._out.emit(start(call))

    def _shows(self, key: FlightKey) -> bool:
        """Only these are work in the eyes of a user; the cache map of a source resolves it, those of other ops are free."""
        return key[0] in ("load", "run") or (key[0] == "cache_map" and not self.vertex.inputs)

    def leave(self, pipe: Pipe) -> None:
        """The asker gave up: answer it at once, and cancel the call if it was the last."""
        for flight in self.flights.values():
            if pipe in flight.late:
                flight.late.remove(pipe)
            elif pipe in flight.waiting:
                flight.waiting.remove(pipe)
                if not flight.waiting and not flight.canceling:
                    flight.canceling = True
                    self._out.emit(CancelCall(call=flight.call))
            else:
                continue
            self._out.deliver(pipe, None, CanceledPipe())
            return

    def relaunch(self, key: FlightKey, start: Callable[[int], Effect]) -> None:
        """Call again with other inputs, for the same waiters."""
        flight = self.flights[key]
        flight.attempts += 1
        flight.start = start
        flight.call = self._out.open_call(self, key)
        self._out.emit(start(flight.call))

    def answered(self, key: FlightKey, value: Any) -> None:
        """The call of this flight ended well (a cancel that came too late changes nothing)."""
        flight = self.flights.pop(key)
        if self._shows(key):
            self._out.emit(Progress(vertex=self.vertex, completed=True, cached=key[0] == "load"))
        everyone = flight.waiting + flight.late
        match key[0]:
            case "cache_map":
                self._maps.append(value)
                for pipe in everyone:
                    self.cache_map(pipe, key[1])
            case "content":
                self._content[key[1]] = value
                for pipe in everyone:
                    self._out.deliver(pipe, value, None)
            case "load":
                for pipe in everyone:
                    self._out.deliver(pipe, self._out.ledger.issue(value), None)
                if not everyone:
                    self._out.ledger.issue(value).drop()
            case _:
                self._results = [self._out.ledger.issue(v) for v in value]
                for pipe in everyone:
                    self._out.deliver_run(pipe, self._results)

    def failed(self, key: FlightKey, error: BaseException, *, canceled: bool) -> None:
        """The call of this flight ended in an error."""
        flight = self.flights.pop(key)
        forget = canceled or key[0] == "load"
        if not forget:
            self._errors[key] = error
        if self._shows(key) or (key[0] in ("content", "cache_map") and not canceled):
            if not self._shows(key):
                self._out.emit(Progress(vertex=self.vertex, completed=False))
            self._out.emit(Progress(vertex=self.vertex, completed=True, cached=key[0] == "load", error=error))
        for pipe in flight.waiting:
            self._out.deliver(pipe, None, error)
        if flight.late:
            if forget:
                self._launch(key, flight.late, flight.start)
            else:
                for pipe in flight.late:
                    self._out.deliver(pipe, None, error)

    def forget_results(self) -> None:
        """The results are lost: the next wish runs the op again."""
        results, self._results = self._results, None
        for result in results or ():
            result.drop()

    def release(self) -> None:
        """No job needs the vertex any more."""
        self.forget_results()
        for flight in self.flights.values():
            if not flight.canceling:
                flight.canceling = True
                self._out.emit(CancelCall(call=flight.call))
