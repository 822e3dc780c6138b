"""A key-value bucket in memory, with TTL, compare-and-set and watches."""

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.bus.ports import Entry
from shared.errors import BusOverrun

WATCH_LIMIT = 1 << 16

Change = tuple[str, Entry | None]


class Watcher:
    """A bounded queue of changes."""

    def __init__(self) -> None:
        self._changes: deque[Change] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._overrun = False

    def __aiter__(self) -> AsyncIterator[Change]:
        return self

    async def __anext__(self) -> Change:
        while not self._changes:
            if self._overrun:
                raise BusOverrun(f"a watcher fell {WATCH_LIMIT} changes behind")
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        return self._changes.popleft()

    def feed(self, change: Change) -> None:
        """Append a change, or end the watcher when it lags too far behind."""
        if len(self._changes) >= WATCH_LIMIT:
            self._overrun = True
        else:
            self._changes.append(change)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class MemoryKeyValue:
    """See shared.bus.ports.KeyValue. Entries of a bucket with a TTL expire in the order in which they were last written."""

    def __init__(self, *, ttl: float = 0.0) -> None:
        self._ttl = ttl
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._written: dict[str, float] = {}
        self._revision = 0
        self._watchers: list[tuple[str, Watcher]] = []
        self._timer: asyncio.TimerHandle | None = None

    async def get(self, key: str) -> Entry | None:
        self._expire()
        return self._entries.get(key)

    async def put(self, key: str, value: bytes) -> int:
        return self._write(key, value)

    async def create(self, key: str, value: bytes) -> int | None:
        self._expire()
        return None if key in self._entries else self._write(key, value)

    async def update(self, key: str, value: bytes, *, revision: int) -> int | None:
        self._expire()
        present = self._entries.get(key)
        if present is None or present.revision != revision:
            return None
        return self._write(key, value)

    async def delete(self, key: str, *, revision: int | None = None) -> None:
        present = await self.get(key)
        if revision is None or (present is not None and present.revision == revision):
            self._drop(key)

    def disown(self, key: str) -> None:
        """This bus does not lose what it has."""

    async def entries(self, prefix: str = "") -> list[Entry]:
        self._expire()
        return sorted((e for e in self._entries.values() if e.key.startswith(prefix)), key=lambda e: e.key)

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Change]]:
        watcher = Watcher()
        for entry in await self.entries(prefix):
            watcher.feed((entry.key, entry))
        registered = (prefix, watcher)
        self._watchers.append(registered)
        self._arm()
        try:
            yield watcher
        finally:
            self._watchers.remove(registered)

    def restore(self, entry: Entry) -> None:
        """Take over an entry of an earlier process (sqlite_kv), unannounced."""
        self._entries[entry.key] = entry
        self._revision = max(self._revision, entry.revision)

    def _write(self, key: str, value: bytes) -> int:
        self._revision += 1
        self._entries[key] = Entry(key=key, value=value, revision=self._revision)
        self._entries.move_to_end(key)
        if self._ttl:
            self._written[key] = time.monotonic()
            self._arm()
        self._announce(key, self._entries[key])
        return self._revision

    def _drop(self, key: str) -> None:
        self._written.pop(key, None)
        if self._entries.pop(key, None) is not None:
            self._revision += 1
            self._announce(key, None)

    def _announce(self, key: str, entry: Entry | None) -> None:
        for prefix, watcher in self._watchers:
            if key.startswith(prefix):
                watcher.feed((key, entry))

    def _expire(self) -> None:
        if not self._ttl:
            return
        horizon = time.monotonic() - self._ttl
        while self._entries:
            key = next(iter(self._entries))
            if self._written[key] > horizon:
                return
            self._drop(key)

    def _arm(self) -> None:
        """Watchers hear of an expiry when it happens, not when somebody looks."""
        if self._timer is not None or not self._ttl or not self._watchers or not self._entries:
            return
        due = self._written[next(iter(self._entries))] + self._ttl - time.monotonic()
        self._timer = asyncio.get_running_loop().call_later(max(due, 0.0) + 0.001, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._expire()
        self._arm()
