"""Who holds which snapshots, and until when. Pure: the time is an argument."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

__all__ = ["LEASE_SECONDS", "LeaseTable"]

# Leases are renewed by the solver while a build lives; one that nobody renews for this long belongs to a dead build.
LEASE_SECONDS = 60.0


@dataclass(slots=True)
class _Lease:
    ids: set[str] = field(default_factory=set)
    expires: float = 0.0


class LeaseTable:
    """Leases by name. Invariant, checked by `check`: the count of an id is the number of leases that hold it."""

    def __init__(self, *, seconds: float = LEASE_SECONDS) -> None:
        self._seconds = seconds
        self._leases: dict[str, _Lease] = {}
        self._counts: Counter[str] = Counter()

    def hold(self, lease: str, ids: Iterable[str], now: float) -> None:
        """Add `ids` to a lease, making or renewing it."""
        entry = self._leases.setdefault(lease, _Lease())
        entry.expires = now + self._seconds
        fresh = set(ids) - entry.ids
        entry.ids |= fresh
        self._counts.update(fresh)

    def renew(self, leases: Iterable[str], now: float) -> None:
        """Push back the expiry of those that exist; the others are ignored."""
        for name in leases:
            if (entry := self._leases.get(name)) is not None:
                entry.expires = now + self._seconds

    def release(self, lease: str) -> frozenset[str]:
        """Forget a lease; returns the ids which nobody holds any more because of that."""
        entry = self._leases.pop(lease, None)
        if entry is None:
            return frozenset()
        self._counts.subtract(entry.ids)
        freed = frozenset(id for id in entry.ids if self._counts[id] <= 0)
        for id in freed:
            del self._counts[id]
        return freed

    def drop(self, lease: str, id: str) -> None:
        """Let one lease no longer hold `id`."""
        entry = self._leases.get(lease)
        if entry is not None and id in entry.ids:
            entry.ids.discard(id)
            self._counts[id] -= 1
            if self._counts[id] <= 0:
                del self._counts[id]

    def replace(self, old: str, new: str) -> None:
        """Whoever holds `old` holds `new` instead."""
        for entry in self._leases.values():
            if old in entry.ids:
                entry.ids.discard(old)
                self._counts[old] -= 1
                if new not in entry.ids:
                    entry.ids.add(new)
                    self._counts[new] += 1
        if self._counts[old] <= 0:
            del self._counts[old]

    def expired(self, now: float) -> tuple[str, ...]:
        """Names of leases whose time is over, oldest first."""
        late = [(entry.expires, name) for name, entry in self._leases.items() if entry.expires <= now]
        return tuple(name for _, name in sorted(late))

    def holds(self, id: str) -> bool:
        """Whether any lease holds `id` itself."""
        return id in self._counts

    def held(self) -> Collection[str]:
        """All ids held by some lease."""
        return self._counts.keys()

    def names(self) -> tuple[str, ...]:
        return tuple(self._leases)

    def check(self) -> None:
        """Assert the invariant."""
        counts: Counter[str] = Counter()
        for entry in self._leases.values():
            counts.update(entry.ids)
        assert counts == self._counts, f"lease counts are off: {counts} != {self._counts}"
