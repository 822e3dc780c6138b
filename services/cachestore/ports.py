"""What the cachestore needs from the world, in its own words."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.cachestore.core.key_graph import Row
from shared.wire.messages import ExecutorInfo, UsageRecord


class KeyStore(Protocol):
    """Keeps the rows of the key graph. Every implementation passes tests/contracts/key_store.py."""

    async def load(self) -> list[Row]:
        """All rows. What can't be read any more is left out: a lost row is a cache miss."""
        ...

    async def write(self, added: Sequence[Row], removed: Sequence[Row]) -> None:
        """Returns when it is durable. Idempotent: adding what is there and removing what is not changes nothing."""
        ...

    async def intact(self) -> bool:
        """False when the store was emptied behind our back (a lost JetStream folder): then the caller writes everything again."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """What one executor holds, and its disk (bytes)."""

    executor: ExecutorInfo
    records: tuple[UsageRecord, ...]
    disk_free: int


class Holders(Protocol):
    """The executors, which hold the snapshots."""

    async def holdings(self) -> list[Holding]:
        """Of all executors that answer; one that doesn't is left out."""
        ...

    def alive(self, executor: str) -> bool:
        """Whether the executor is registered now (or may still register, shortly after a start)."""
        ...

    async def remove(self, executor: str, ids: Sequence[str]) -> Collection[str]:
        """Remove snapshots that are neither in use nor have children; returns those that are gone."""
        ...
