"""Cache mounts: mutable snapshots that outlive the step (solver/llbsolver/mounts/mount.go; reference 03 §3).

SHARED: all who want a key at the same time get the same directory. PRIVATE: an unused one, else a new one. LOCKED: wait until
the one there is becomes free; with `locks` (a fleet), on whatever executor it is used.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass

from services.executor.adapters.fleet_locks import FleetLocks
from services.executor.core.snapshots import RecordType
from services.executor.ports import SnapshotStore
from shared.blobs.threads import Pool
from shared.llb import Sharing

__all__ = ["CacheDirs"]

_POLL = 0.1
_REMEMBERED = 1024


@dataclass(slots=True)
class _Shared:
    id: str
    users: int = 0


class CacheDirs:
    """Directories by key `<id>` or `<id>:<snapshot the directory begins with>`."""

    def __init__(self, store: SnapshotStore, threads: Pool, locks: FleetLocks | None = None) -> None:
        self._store = store
        self._threads = threads
        self._locks = locks
        self._shared: dict[str, _Shared] = {}
        self._lock = asyncio.Lock()
        self._emptied: dict[tuple[str, str], None] = {}

    @asynccontextmanager
    async def use(self, id: str, base: str | None, sharing: Sharing, description: str) -> AsyncIterator[str]:
        """The mutable snapshot for one step, given back when the context is left."""
        key = f"cache:{id}:{base}" if base else f"cache:{id}"
        if sharing is Sharing.SHARED:
            entry = await self._join(key, base, description)
            try:
                yield entry.id
            finally:
                entry.users -= 1
                if not entry.users:
                    if self._shared.get(key) is entry:
                        del self._shared[key]
                    await self._threads.finish(self._store.unclaim, entry.id)
            return
        async with self._locked(key, sharing):
            snapshot = await self._own(key, base, description, wait=sharing is Sharing.LOCKED)
            try:
                yield snapshot
            finally:
                await self._threads.finish(self._store.unclaim, snapshot)

    def _locked(self, key: str, sharing: Sharing) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self._locks is None or sharing is not Sharing.LOCKED else self._locks.hold(key)

    async def _join(self, key: str, base: str | None, description: str) -> _Shared:
        async with self._lock:
            entry = self._shared.get(key)
            if entry is None:
                entry = self._shared[key] = _Shared(await self._threads.take(self._give_back, self._claim, key, base, description, True))
            entry.users += 1
            return entry

    async def _own(self, key: str, base: str | None, description: str, *, wait: bool) -> str:
        while True:
            async with self._lock:
                id = await self._threads.take(self._give_back, self._claim, key, base, description, not wait)
            if id:
                return id
            await asyncio.sleep(_POLL)

    def _give_back(self, id: str) -> None:
        if id:
            self._store.unclaim(id)

    def _claim(self, key: str, base: str | None, description: str, even_if_busy: bool) -> str:
        """A free directory, or a new one; "" when there is one in use and it has to be waited for."""
        free = self._store.claim(key)
        if free is not None:
            return free.id
        if not even_if_busy and self._store.busy(key):
            return ""
        made = self._store.prepare(base, record_type=RecordType.CACHE_MOUNT, description=description)
        self._store.put(made.id, key)
        return made.id

    async def empty(self, lease: str, ids: Collection[str]) -> None:
        """Begin anew with these ids, once per lease (`--no-cache`): whoever uses a directory now keeps it."""
        for id in ids:
            if (lease, id) in self._emptied:
                continue
            self._emptied[lease, id] = None
            while len(self._emptied) > _REMEMBERED:
                del self._emptied[next(iter(self._emptied))]
            async with self._lock:
                await self._threads.finish(self._store.unbind, f"cache:{id}")
                for key in [k for k in self._shared if k == f"cache:{id}" or k.startswith(f"cache:{id}:")]:
                    del self._shared[key]
