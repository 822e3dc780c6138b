"""Results with counted holders: the last one to let go gives the result back to the world."""

from dataclasses import dataclass, field
from typing import Any

from services.solver.core.cache_key import CacheKey


@dataclass(slots=True, eq=False)
class Ledger:
    """Knows every result that is held; `released` collects the values whose last holder let go, until drained."""

    held: int = 0
    released: list[Any] = field(default_factory=list)

    def issue(self, value: Any) -> "SharedResult":
        """A new result with one holder."""
        self.held += 1
        return SharedResult(value=value, ledger=self)

    def drain(self) -> list[Any]:
        """What was released since the last call."""
        out, self.released = self.released, []
        return out


@dataclass(slots=True, eq=False, kw_only=True)
class SharedResult:
    """A value (a Ref, or None for scratch; opaque here) with a number of holders."""

    value: Any
    ledger: Ledger
    holders: int = 1

    def hold(self) -> "SharedResult":
        """One holder more. Holding what was released already is a broken invariant."""
        assert self.holders > 0, "held a released result"
        self.holders += 1
        return self

    def drop(self) -> None:
        """One holder less."""
        assert self.holders > 0, "released a result twice"
        self.holders -= 1
        if self.holders == 0:
            self.ledger.held -= 1
            self.ledger.released.append(self.value)


@dataclass(frozen=True, slots=True, eq=False)
class EdgeResult:
    """What a complete edge has: the result and the keys that lead to it."""

    shared: SharedResult
    keys: tuple[CacheKey, ...] = ()

    @property
    def value(self) -> Any:
        """The bare value."""
        return self.shared.value
