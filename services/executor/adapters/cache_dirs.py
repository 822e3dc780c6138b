"""Cache mounts: mutable snapshots that outlive the step (solver/llbsolver/mounts/mount.go; reference 03 §3).

SHARED: all who want a key at the same time get the same directory. PRIVATE: an unused one, else a new one. LOCKED: wait until
the one there is becomes free; with `locks` (a fleet), on whatever executor it is used. With `warm`, a directory begins with what the last
step that ended well has left, on whatever executor that was.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass, field

from services.executor.adapters.fleet_locks import FleetLocks
from services.executor.adapters.mount_records import MountName
from services.executor.adapters.warm_mounts import Fresh, Place, WarmMounts
from services.executor.core.snapshots import RecordType
from services.executor.ports import SnapshotStore
from shared.blobs.threads import Pool
from shared.llb import Sharing
from shared.wire.messages import Scope

__all__ = ["CacheDirs", "Wish"]

_POLL = 0.1
_REMEMBERED = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a step asks for. `base` is the snapshot that the directory begins with, `base_ref` what the fleet calls that.

    `keeps`: what a step leaves that ends well is what the mount holds then, for the fleet.
    """

    id: str
    sharing: Sharing
    description: str
    scope: Scope
    base: str | None = None
    base_ref: str = ""
    keeps: bool = True

    @property
    def place(self) -> Place:
        """Directories are found by `<id>` or `<id>:<what they begin with>`."""
        base = self.base_ref or self.base
        key = f"cache:{self.id}:{base}" if base else f"cache:{self.id}"
        name = MountName(id=self.id, base=base or "")
        return Place(key=key, base=self.base, name=name, sharing=self.sharing, description=self.description)


@dataclass(slots=True)
class _Shared:
    id: str
    users: int = 0
    over: asyncio.Event = field(default_factory=asyncio.Event)  # set when the directory has been given back


class CacheDirs:
    """Directories by `Place.key`."""

    def __init__(self, store: SnapshotStore, threads: Pool, locks: FleetLocks | None = None, warm: WarmMounts | None = None) -> None:
        self._store = store
        self._threads = threads
        self._locks = locks
        self._warm = warm
        self._shared: dict[str, _Shared] = {}
        self._lock = asyncio.Lock()
        self._emptied: dict[tuple[str, str], None] = {}

    @asynccontextmanager
    async def use(self, wish: Wish) -> AsyncIterator[str]:
        """The mutable snapshot for one step, given back when the context is left. Left without an error, the step has ended well."""
        place = wish.place
        if wish.sharing is Sharing.SHARED:
            entry = await self._join(place, wish.scope)
            well = False
            try:
                yield entry.id
                well = wish.keeps
            finally:
                await self._leave(entry, place, well)
            return
        async with self._locked(place.key, wish.sharing):
            id = await self._own(place, wish.scope, wait=wish.sharing is Sharing.LOCKED)
            well = False
            try:
                yield id
                well = wish.keeps
            finally:
                await self._give(id, place, well)

    def _locked(self, key: str, sharing: Sharing) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self._locks is None or sharing is not Sharing.LOCKED else self._locks.hold(key)

    async def _newest(self, place: Place, scope: Scope) -> Fresh | None:
        return await self._warm.newest(place, scope) if self._warm is not None else None

    async def _join(self, place: Place, scope: Scope) -> _Shared:
        fresh = None if place.key in self._shared else await self._newest(place, scope)
        while True:
            async with self._lock:
                entry = self._shared.get(place.key)
                if entry is None:
                    id = await self._claimed(place, fresh, even_if_busy=True)
                    entry = self._shared[place.key] = _Shared(id)
                elif not entry.users:  # the last user is just giving it back
                    over = entry.over
                    entry = None
                if entry is not None:
                    entry.users += 1
                    return entry
            await over.wait()

    async def _leave(self, entry: _Shared, place: Place, well: bool) -> None:
        """The last one decides: when its step ended well, what all have left is well."""
        entry.users -= 1
        if entry.users:
            return
        try:
            await self._give(entry.id, place, well)
        finally:
            if self._shared.get(place.key) is entry:
                del self._shared[place.key]
            entry.over.set()

    async def _give(self, id: str, place: Place, well: bool) -> None:
        try:
            if well and self._warm is not None and id in self._store.carrying(place.key):
                id = await self._warm.keep(id, place)
        finally:
            await self._threads.finish(self._store.unclaim, id)

    async def _own(self, place: Place, scope: Scope, *, wait: bool) -> str:
        fresh = await self._newest(place, scope)
        while True:
            async with self._lock:
                id = await self._claimed(place, fresh, even_if_busy=not wait)
            if id:
                return id
            await asyncio.sleep(_POLL)

    async def _claimed(self, place: Place, fresh: Fresh | None, *, even_if_busy: bool) -> str:
        id = await self._threads.take(self._give_back, self._claim, place, fresh, even_if_busy)
        if self._warm is not None and fresh is not None:
            self._warm.tidy()
        return id

    def _give_back(self, id: str) -> None:
        if id:
            self._store.unclaim(id)

    def _claim(self, place: Place, fresh: Fresh | None, even_if_busy: bool) -> str:
        """A free directory, or a new one; "" when there is one in use and it has to be waited for."""
        free = self._store.claim(place.key)
        if free is None and not even_if_busy and self._store.carrying(place.key):
            return ""
        if self._warm is not None and fresh is not None and (free is None or self._warm.is_older(free.id, fresh)):
            if free is not None:
                self._warm.discard(free.id)
            return self._warm.begin(place, fresh)
        if free is not None:
            return free.id
        made = self._store.prepare(place.base, record_type=RecordType.CACHE_MOUNT, description=place.description)
        self._store.put(made.id, place.key)
        return made.id

    async def empty(self, lease: str, ids: Collection[str]) -> None:
        """Begin anew with these ids, once per lease (`--no-cache`): whoever uses a directory now keeps it."""
        for id in ids:
            if (lease, id) in self._emptied:
                continue
            self._emptied[lease, id] = None
            while len(self._emptied) > _REMEMBERED:
                del self._emptied[next(iter(self._emptied))]
            if self._warm is not None:
                await self._warm.anew(lease, id)
            async with self._lock:
                await self._threads.finish(self._store.unbind, f"cache:{id}")
                for key in [k for k in self._shared if k == f"cache:{id}" or k.startswith(f"cache:{id}:")]:
                    del self._shared[key]
