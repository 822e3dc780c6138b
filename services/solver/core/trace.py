"""Why the scheduler did what it did: one record per decision, the newest kept."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Decision:
    """`what` was decided about an edge, and the facts behind it."""

    step: int
    vertex: str
    name: str
    output: int
    what: str
    why: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        facts = " ".join(f"{k}={v}" for k, v in self.why)
        return f"{self.step} {self.what} {self.name!r}#{self.output} {self.vertex[:19]} {facts}".rstrip()


class Trace:
    """A bounded memory of decisions; `size` 0 remembers nothing and costs nothing."""

    def __init__(self, size: int = 2000) -> None:
        self._records: deque[Decision] = deque(maxlen=size)
        self.step = 0

    @property
    def enabled(self) -> bool:
        """False when records are thrown away."""
        return self._records.maxlen != 0

    def add(self, vertex: str, name: str, output: int, what: str, why: dict[str, object]) -> None:
        """Remember a decision of this step."""
        if self.enabled:
            facts = tuple((key, str(value)) for key, value in why.items())
            self._records.append(Decision(self.step, vertex, name, output, what, facts))

    def __iter__(self) -> Iterator[Decision]:
        return iter(self._records)

    def of(self, vertex: str) -> list[Decision]:
        """The decisions about one vertex, oldest first."""
        return [d for d in self._records if d.vertex == vertex]
