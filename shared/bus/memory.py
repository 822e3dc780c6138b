"""`memory://`: the whole bus inside one process and one event loop. Nothing survives the process but what `kept` buckets keep."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Protocol

from shared.bus.memory_kv import MemoryKeyValue
from shared.bus.memory_work import WorkQueue
from shared.bus.ports import Delivery, KeyValue, Lease, Subscription
from shared.errors import BusOverrun

LIMIT = 1 << 16  # messages a subscriber may lag behind
LOG_SECONDS = 900.0  # how long a log is kept after its last entry
_NO_HEADERS: Mapping[str, str] = {}


class KeptBuckets(Protocol):
    """Where buckets without a TTL live when they have to survive a restart (sqlite_kv)."""

    async def bucket(self, name: str) -> KeyValue: ...

    async def close(self) -> None: ...


class Inflow:
    """A subscriber's bounded queue: filled synchronously, read with `async for`."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._items: deque[Delivery] = deque()
        self._limit = limit
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._closed = False

    def __aiter__(self) -> AsyncIterator[Delivery]:
        return self

    async def __anext__(self) -> Delivery:
        while not self._items:
            if self._error is not None:
                raise self._error
            if self._closed:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._items.popleft()

    def feed(self, delivery: Delivery) -> None:
        """Append; past the limit the subscriber ends with BusOverrun once it has read what it has."""
        if self._error is not None or self._closed:
            return
        if len(self._items) >= self._limit:
            self._error = BusOverrun(f"subscriber of {delivery.subject} fell {self._limit} messages behind")
        else:
            self._items.append(delivery)
        self._wake()

    def end(self, error: Exception | None = None) -> None:
        """No more messages; what is queued is still delivered."""
        self._closed = True
        self._error = self._error or error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class _Log:
    """Entries of one subject and those who wait for more."""

    def __init__(self) -> None:
        self.entries: list[bytes] = []
        self.waiters: set[asyncio.Future[None]] = set()
        self.touched = 0.0

    def append(self, data: bytes, now: float) -> int:
        self.entries.append(data)
        self.touched = now
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)
        self.waiters.clear()
        return len(self.entries)


class _Follower:
    """A cursor over a log; it needs no queue of its own."""

    def __init__(self, log: _Log, subject: str, after: int) -> None:
        self._log, self._subject, self._position = log, subject, after

    def __aiter__(self) -> AsyncIterator[Delivery]:
        return self

    async def __anext__(self) -> Delivery:
        while self._position >= len(self._log.entries):
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._log.waiters.add(waiter)
            try:
                await waiter
            finally:
                self._log.waiters.discard(waiter)
        self._position += 1
        return Delivery(subject=self._subject, data=self._log.entries[self._position - 1], sequence=self._position)


class _Routes:
    """Which subscribers hear a subject: exact subjects by table, `prefix.>` by prefix, `*` by pattern."""

    def __init__(self) -> None:
        self._exact: dict[str, dict[str, list[Inflow]]] = {}
        self._prefix: dict[str, dict[str, list[Inflow]]] = {}
        self._pattern: dict[str, dict[str, list[Inflow]]] = {}

    def _table(self, subject: str) -> tuple[dict[str, dict[str, list[Inflow]]], str]:
        if "*" in subject:
            return self._pattern, subject
        if subject.endswith(".>"):
            return self._prefix, subject[:-1]
        return self._exact, subject

    def add(self, subject: str, queue: str, inflow: Inflow) -> None:
        table, key = self._table(subject)
        table.setdefault(key, {}).setdefault(queue, []).append(inflow)

    def remove(self, subject: str, queue: str, inflow: Inflow) -> None:
        table, key = self._table(subject)
        members = table[key][queue]
        members.remove(inflow)
        if not members:
            del table[key][queue]
        if not table[key]:
            del table[key]

    def targets(self, subject: str) -> list[Inflow]:
        found: list[Inflow] = []
        if subject in self._exact:
            _choose(self._exact[subject], found)
        if self._prefix:
            at = subject.find(".")
            while at >= 0:
                groups = self._prefix.get(subject[: at + 1])
                if groups is not None:
                    _choose(groups, found)
                at = subject.find(".", at + 1)
        for pattern, groups in self._pattern.items():
            if _matches(pattern, subject):
                _choose(groups, found)
        return found


def _choose(groups: dict[str, list[Inflow]], found: list[Inflow]) -> None:
    """Everybody outside a queue group; of each group the next member in turn."""
    for queue, members in groups.items():
        if not queue:
            found.extend(members)
        else:
            members.append(members.pop(0))
            found.append(members[-1])


def _matches(pattern: str, subject: str) -> bool:
    want, got = pattern.split("."), subject.split(".")
    if want[-1] == ">":
        if len(got) < len(want):
            return False
        want, got = want[:-1], got[: len(want) - 1]
    return len(want) == len(got) and all(w == "*" or w == g for w, g in zip(want, got, strict=True))


class MemoryBus:
    """See shared.bus.ports.Bus. `ack_wait`: seconds after which a claimed piece of work without `keep` goes to somebody else."""

    def __init__(self, *, ack_wait: float = 30.0, kept: KeptBuckets | None = None, limit: int = LIMIT) -> None:
        self._routes = _Routes()
        self._queues: dict[str, WorkQueue] = {}
        self._logs: OrderedDict[str, _Log] = OrderedDict()
        self._buckets: dict[str, KeyValue] = {}
        self._open: set[Inflow] = set()
        self._ack_wait, self._kept, self._limit = ack_wait, kept, limit
        self._inboxes = 0
        self._opening = asyncio.Lock()

    async def publish(self, subject: str, data: bytes, *, reply: str = "", headers: Mapping[str, str] | None = None) -> None:
        delivery = Delivery(subject=subject, data=data, reply=reply, headers=headers or _NO_HEADERS)
        targets = self._routes.targets(subject)
        for inflow in targets:
            inflow.feed(delivery)
        if reply and not targets:
            nobody = Delivery(subject=reply, data=b"")
            for inflow in self._routes.targets(reply):
                inflow.feed(nobody)

    @asynccontextmanager
    async def subscribe(self, subject: str, *, queue: str = "") -> AsyncIterator[Subscription]:
        inflow = Inflow(self._limit)
        self._routes.add(subject, queue, inflow)
        self._open.add(inflow)
        try:
            yield inflow
        finally:
            self._routes.remove(subject, queue, inflow)
            self._open.discard(inflow)

    @property
    def connected(self) -> bool:
        return True

    def new_inbox(self) -> str:
        self._inboxes += 1
        return self.inbox_of(f"{id(self):x}-{self._inboxes}")

    def inbox_of(self, token: str) -> str:
        return f"_INBOX.{token}"

    async def enqueue(self, subject: str, data: bytes, *, key: str, headers: Mapping[str, str] | None = None) -> None:
        self._queue(subject).add(Delivery(subject=subject, data=data, headers=headers or _NO_HEADERS), key)

    async def pull(self, subject: str, *, within: float) -> Lease | None:
        return await self._queue(subject).pull(within)

    async def depth(self, subject: str) -> int:
        return self._queue(subject).depth()

    async def reclaim(self, ticket: str) -> None:
        queue = self._queues.get(ticket.partition("#")[0])
        if queue is not None:
            await queue.reclaim(ticket)

    def _queue(self, subject: str) -> WorkQueue:
        if subject not in self._queues:
            self._queues[subject] = WorkQueue(self._ack_wait)
        return self._queues[subject]

    async def append(self, subject: str, data: bytes) -> int:
        now = time.monotonic()
        log = self._log(subject)
        self._logs.move_to_end(subject)
        self._forget_logs(now)
        return log.append(data, now)

    @asynccontextmanager
    async def follow(self, subject: str, *, after: int = 0) -> AsyncIterator[Subscription]:
        yield _Follower(self._log(subject), subject, after)

    def _log(self, subject: str) -> _Log:
        if subject not in self._logs:
            self._logs[subject] = _Log()
            self._logs[subject].touched = time.monotonic()
        return self._logs[subject]

    def _forget_logs(self, now: float) -> None:
        while self._logs:
            subject, log = next(iter(self._logs.items()))
            if log.waiters or now - log.touched < LOG_SECONDS:
                return
            del self._logs[subject]

    async def bucket(self, name: str, *, ttl: float = 0.0) -> KeyValue:
        async with self._opening:  # the same bucket opened twice would be two
            if name not in self._buckets:
                kept = self._kept if ttl == 0.0 else None
                self._buckets[name] = await kept.bucket(name) if kept is not None else MemoryKeyValue(ttl=ttl)
            return self._buckets[name]

    async def close(self) -> None:
        for inflow in self._open:
            inflow.end()
        if self._kept is not None:
            await self._kept.close()
