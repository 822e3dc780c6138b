"""Who is next when several want a slot: identities share evenly by weight, builds of one identity by priority and waiting time.

The share is one of slots held now: next is the identity that holds the fewest for its weight. So nobody starves: whoever holds
none comes before all who hold one. Priorities order only what belongs to one identity, and waiting raises them (aging).
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

AGING = 30.0  # seconds of waiting that count as one step of priority
PRIORITIES = range(-10, 11)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One who waits: `id` is unique, `identity` whose share it takes from, `since` when it came (s)."""

    id: int
    identity: str
    priority: int = 0
    since: float = 0.0

    @property
    def rank(self) -> tuple[float, int]:
        """Among its identity's, the smallest comes first. All grow older alike, so the order never changes."""
        return self.since / AGING - self.priority, self.id


class FairQueue:
    """Those who wait for slots of one kind, and who holds how many. `weights` by identity, 1 where not given."""

    def __init__(self, weights: Mapping[str, float] | None = None) -> None:
        self._weights = weights or {}
        self._places: dict[int, Place] = {}
        self._lines: dict[str, list[tuple[float, int]]] = {}
        self._held: Counter[str] = Counter()
        self._served: dict[str, int] = {}
        self._turns = 0

    def __len__(self) -> int:
        return len(self._places)

    @property
    def held(self) -> int:
        """Slots taken and not given back."""
        return self._held.total()

    def oldest(self, now: float) -> float:
        """Since when the one waits that came first; `now` when nobody does."""
        return min((place.since for place in self._places.values()), default=now)

    def add(self, place: Place) -> None:
        """It waits from now on."""
        self._places[place.id] = place
        insort(self._lines.setdefault(place.identity, []), place.rank)

    def leave(self, id: int) -> None:
        """It waits no longer. Idempotent."""
        place = self._places.pop(id, None)
        if place is not None:
            line = self._lines[place.identity]
            del line[bisect_left(line, place.rank)]
            if not line:
                del self._lines[place.identity]

    def wants(self) -> Counter[str]:
        """What each identity holds and waits for."""
        return self._held + Counter({identity: len(line) for identity, line in self._lines.items()})

    def take(self, most: Mapping[str, int] | None = None) -> Place | None:
        """The next one, which holds a slot from now on; None when nobody waits who holds less than `most` for its identity (None = any)."""
        first = {identity: line[0][1] for identity, line in self._lines.items() if most is None or self._held[identity] < most[identity]}
        identity = self._next(first, self._held, self._served)
        if identity is None:
            return None
        place = self._places[self._lines[identity][0][1]]
        self.leave(place.id)
        self._turns += 1
        self._held[identity] += 1
        self._served[identity] = self._turns
        return place

    def give_back(self, identity: str) -> None:
        """A slot is free again."""
        self._held[identity] -= 1
        if self._held[identity] <= 0:
            del self._held[identity]
            if identity not in self._lines:
                self._served.pop(identity, None)

    def order(self) -> list[int]:
        """The ids of all who wait, in the order in which they would be taken were nothing given back meanwhile."""
        lines = {identity: [id for _, id in reversed(line)] for identity, line in self._lines.items()}
        first = {identity: line[-1] for identity, line in lines.items()}
        held, served, turns, order = Counter(self._held), dict(self._served), self._turns, []
        while (identity := self._next(first, held, served)) is not None:
            order.append(lines[identity].pop())
            if lines[identity]:
                first[identity] = lines[identity][-1]
            else:
                del first[identity]
            turns += 1
            held[identity] += 1
            served[identity] = turns
        return order

    def _next(self, first: Mapping[str, int], held: Mapping[str, int], served: Mapping[str, int]) -> str | None:
        """Of the identities that wait (with the id of their first place); ids are given in the order of coming."""

        def share(identity: str) -> tuple[float, int, int]:
            return held.get(identity, 0) / max(self._weights.get(identity, 1.0), 0.001), served.get(identity, 0), first[identity]

        return min(first, key=share, default=None)
