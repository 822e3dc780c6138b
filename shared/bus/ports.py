"""What a bus gives. Payloads are bytes (shared.wire.codec makes and reads them); subjects come from shared.wire.subjects.

Delivery is at least once for work and logs, at most once for publish. Every implementation passes tests/contracts/bus.py.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message as received. `reply` is the inbox to answer to ("" = none); `sequence` its number within a log (else 0)."""

    subject: str
    data: bytes
    reply: str = ""
    sequence: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)


class Subscription(Protocol):
    """An open subscription; iterate to receive. Bounded: a subscriber that falls behind by more than its limit is ended with BusOverrun."""

    def __aiter__(self) -> AsyncIterator[Delivery]: ...


class PubSub(Protocol):
    """Ephemeral messages: nobody listening means lost."""

    async def publish(self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        """Hand over to the bus; returns before anyone has received it.

        With `reply` and nobody listening, an empty Delivery arrives at `reply`.
        """
        ...

    def subscribe(self, subject: str, *, queue: str = "") -> AbstractAsyncContextManager[Subscription]:
        """Messages on `subject` (a last token `>` or a token `*` as wildcard). Members of one `queue` share them, one each."""
        ...

    def new_inbox(self) -> str:
        """A fresh subject that nobody else knows. Its last token alone names it: `inbox_of(token)` is the inbox again."""
        ...

    def inbox_of(self, token: str) -> str:
        """The inbox, of whatever service, whose last token is `token`."""
        ...

    @property
    def connected(self) -> bool:
        """False while messages can neither be sent nor received, as far as is known."""
        ...


class Lease(Protocol):
    """A claimed piece of work. Without `done` or `keep` in time it is delivered to somebody else."""

    @property
    def delivery(self) -> Delivery: ...

    @property
    def attempt(self) -> int:
        """1 for the first delivery."""
        ...

    @property
    def ticket(self) -> str:
        """Names this claim for `WorkQueues.reclaim`."""
        ...

    async def keep(self) -> None:
        """Still working: start the time-out anew."""
        ...

    async def done(self) -> None:
        """Finished (or never to be tried again): remove it. Idempotent."""
        ...

    async def give_back(self, *, delay: float = 0.0) -> None:
        """Not mine: let another have it after `delay` seconds."""
        ...


class WorkQueues(Protocol):
    """Durable queues below `work.`; each message goes to one puller at a time."""

    async def enqueue(self, subject: str, data: bytes, *, key: str, headers: Mapping[str, str] | None = None) -> None:
        """Add work. The same `key` within two minutes is added once (idempotency)."""
        ...

    async def pull(self, subject: str, *, within: float) -> Lease | None:
        """The oldest waiting piece of work of this exact subject, or None when there is none `within` so many seconds."""
        ...

    async def depth(self, subject: str) -> int:
        """How many wait, not counting the claimed ones."""
        ...

    async def reclaim(self, ticket: str) -> None:
        """End the claim of somebody who is gone: the next puller gets the work at once. Of a settled claim or nonsense: nothing."""
        ...


class EventLog(Protocol):
    """Append-only logs with replay, kept for some minutes after the last append."""

    async def append(self, subject: str, data: bytes) -> int:
        """Add an entry; returns its sequence number. Numbers grow within a subject; they need not be consecutive."""
        ...

    def follow(self, subject: str, *, after: int = 0) -> AbstractAsyncContextManager[Subscription]:
        """All entries with a sequence greater than `after` that are still kept, then live ones, in order, without end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A value with its revision (for compare-and-set)."""

    key: str
    value: bytes
    revision: int


class KeyValue(Protocol):
    """One bucket. Keys are safe ids, dots allowed as separators."""

    async def get(self, key: str) -> Entry | None: ...

    async def put(self, key: str, value: bytes) -> int:
        """Last writer wins; returns the new revision. Renews the TTL of a bucket that has one."""
        ...

    async def create(self, key: str, value: bytes) -> int | None:
        """Only if absent; None when it was there."""
        ...

    async def update(self, key: str, value: bytes, *, revision: int) -> int | None:
        """Only if `revision` is the current one; None when it is not."""
        ...

    async def delete(self, key: str, *, revision: int | None = None) -> None:
        """Idempotent. With a `revision`: only if that is the current one."""
        ...

    def disown(self, key: str) -> None:
        """Somebody else answers for this entry now: from here it is not written again when the bus has lost it."""
        ...

    async def entries(self, prefix: str = "") -> list[Entry]:
        """A snapshot of all entries whose key starts with `prefix`, sorted by key."""
        ...

    def watch(self, prefix: str = "") -> AbstractAsyncContextManager[AsyncIterator[tuple[str, Entry | None]]]:
        """The present entries, then each change; None = deleted or expired."""
        ...


class Buckets(Protocol):
    """Key-value buckets by name."""

    async def bucket(self, name: str, *, ttl: float = 0.0) -> KeyValue:
        """Open, creating it if needed. `ttl` in seconds: an entry not written again for so long is gone (0 = kept)."""
        ...


class Bus(PubSub, WorkQueues, EventLog, Buckets, Protocol):
    """All of it: what `connect("memory://")` and `connect("nats://host:port")` return."""

    async def close(self) -> None: ...
