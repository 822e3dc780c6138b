"""Turns at the executors: no more work goes to a pool than it has slots for, so that who is next is decided here and fairly.

What waits is told its position, which clients show as a line of the step.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

from services.solver.core.fair_queue import FairQueue, Place
from services.solver.core.fleet_shares import portions
from shared.bus.calls import Waiting

LOOK = 1.0  # seconds between two looks at who waits
HEARD = 2.0  # seconds for which what another solver says holds


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A pool as its executors describe it."""

    executors: int
    slots: int
    busy: int


class Pools(Protocol):
    """What is known of pools."""

    def load(self, queue: str) -> Load: ...


@dataclass(slots=True)
class _Gate:
    """`ahead` by place, as it was at `looked`."""

    queue: FairQueue
    turns: dict[int, asyncio.Future[None]] = field(default_factory=dict)
    ahead: dict[int, int] = field(default_factory=dict)
    looked: float = 0.0

    def position(self, id: int, now: float) -> int:
        if id not in self.ahead or now - self.looked > LOOK / 2:
            self.ahead, self.looked = {place: number for number, place in enumerate(self.queue.order())}, now
        return self.ahead[id]


class Admission:
    """One queue per pool. Pools without executors admit one at a time, which then waits on the bus."""

    def __init__(self, pools: Pools, weights: Mapping[str, float]) -> None:
        self._pools, self._weights = pools, weights
        self._gates: dict[str, _Gate] = {}
        self._ids = count(1)
        self._others: dict[str, tuple[float, Mapping[str, Mapping[str, int]]]] = {}  # solver → until when that holds, pool → wants

    @asynccontextmanager
    async def turn(self, queue: str, identity: str, priority: int, say: Callable[[int, Load], None]) -> AsyncIterator[None]:
        """Inside, the work may be given to the pool. While it waits, `say` gets how many are ahead, each second."""
        gate = self._gates.setdefault(queue, _Gate(FairQueue(self._weights)))
        loop = asyncio.get_running_loop()
        place = Place(id=next(self._ids), identity=identity, priority=priority, since=loop.time())
        turn = gate.turns[place.id] = loop.create_future()
        gate.queue.add(place)
        try:
            self._admit(queue, gate)
            while not turn.done():
                await self._wait(queue, gate, place, turn, say)
            yield
        finally:
            gate.queue.leave(place.id)
            del gate.turns[place.id]
            if turn.done():
                gate.queue.give_back(identity)
            if gate.turns:
                self._admit(queue, gate)
            else:
                self._gates.pop(queue, None)

    async def _wait(self, queue: str, gate: _Gate, place: Place, turn: "asyncio.Future[None]", say: Callable[[int, Load], None]) -> None:
        try:
            async with asyncio.timeout(LOOK):
                await asyncio.shield(turn)
        except TimeoutError:
            self._admit(queue, gate)  # executors may have come
            if not turn.done():
                say(gate.position(place.id, asyncio.get_running_loop().time()), self._pools.load(queue))

    def _admit(self, queue: str, gate: _Gate) -> None:
        """A few more than slots: an executor that gets free finds its next work on the bus."""
        load = self._pools.load(queue)
        capacity = max(load.slots + load.executors, 1)
        others = self._wanted_elsewhere(queue)
        most = portions(capacity, gate.queue.wants(), others, self._weights) if others else None
        while gate.queue.held < capacity:
            place = gate.queue.take(most)
            if place is None:
                return
            gate.turns[place.id].set_result(None)

    def wants(self) -> dict[str, Counter[str]]:
        """What each identity has given to each pool from here, or would."""
        return {queue: gate.queue.wants() for queue, gate in self._gates.items()}

    def hear(self, solver: str, wants: Mapping[str, Mapping[str, int]]) -> None:
        """What another solver has to give, by pool and identity."""
        self._others[solver] = asyncio.get_running_loop().time() + HEARD, wants
        for queue, gate in list(self._gates.items()):
            self._admit(queue, gate)

    def _wanted_elsewhere(self, queue: str) -> list[Mapping[str, int]]:
        now = asyncio.get_running_loop().time()
        self._others = {solver: said for solver, said in self._others.items() if said[0] > now}
        return [wants[queue] for _, wants in self._others.values() if wants.get(queue)]

    def waiting(self) -> dict[str, Waiting]:
        """How many wait here and since when, by pool."""
        now = asyncio.get_running_loop().time()
        return {queue: Waiting(depth=len(gate.queue), oldest=now - gate.queue.oldest(now)) for queue, gate in self._gates.items()}
