"""Snapshots of cache mounts on their way to the blob store, behind the steps: the newest of each mount, one at a time."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from services.executor.adapters.claims import seen
from services.executor.adapters.materialise import transport_of
from services.executor.adapters.mount_records import MountName, MountRecords
from services.executor.adapters.publishing import Packs, Silent
from services.executor.adapters.tree_copy import copy_tree
from services.executor.core.settings import WarmMountSettings
from services.executor.core.snapshots import RecordType
from services.executor.ports import SnapshotStore
from shared.blobs.threads import Pool
from shared.errors import BuildmeshError, RefLost
from shared.model import KeptMount, Layer, Ref
from shared.oci import chain_ids
from shared.telemetry import Log
from shared.wire.messages import Scope

__all__ = ["Job", "MountSnapshots"]

YIELD = 1.0  # seconds that it waits when all slots are taken
SHARE = 4  # a mount rests so many times as long as its last snapshot took
LAST = 20.0  # seconds that a process which stops gives to what still waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Snapshot `id` is what the mount held at the end of turn `turn`. `urgent`: the next user, wherever it is, waits for it."""

    name: MountName
    turn: int
    id: str
    urgent: bool
    mode: int
    uid: int
    gid: int


class MountSnapshots:
    """Packs what is offered. While `busy()` it lets the steps go first."""

    def __init__(
        self,
        *,
        home: str,
        store: SnapshotStore,
        packs: Packs,
        records: MountRecords,
        threads: Pool,
        settings: WarmMountSettings,
        log: Log,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self._home, self._store, self._packs, self._records, self._threads = home, store, packs, records, threads
        self._settings, self._log, self._busy = settings, log, busy
        self._waiting: OrderedDict[MountName, Job] = OrderedDict()
        self._rests: dict[MountName, float] = {}
        self._unwanted: list[str] = []
        self._old: set[str] = set()  # snapshots that go when nobody holds them any more
        self._copies: dict[MountName, str] = {}
        self._news = asyncio.Event()

    def offer(self, job: Job) -> None:
        """An older one of the same mount that still waits is forgotten."""
        self._waiting[job.name] = job
        self._news.set()

    def discard(self, id: str) -> None:
        """A claimed directory that has no key any more, and the layers below it that only it needs, go when there is time. Any thread."""
        self._unwanted.append(id)

    def tidy(self) -> None:
        """Now there is time."""
        self._news.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._waiting:
                await self._threads.finish(self._remove)
                if (pause := self._pause()) > 0:
                    await self._rest(pause)
                    continue
                if self._busy() and not self._next().urgent:
                    await asyncio.sleep(YIELD)
                await self._do(self._waiting.pop(self._next().name))
            await self._threads.finish(self._remove)

    def _remove(self) -> None:
        while self._unwanted:
            id = self._unwanted.pop()
            self._old.update(layer.id for layer in self._store.layers(id) if layer.id != id)
            self._store.unclaim(id)
        self._old = {layer for layer in self._old if self._is_mount(layer)}
        self._old -= {gone.id for gone in self._store.remove(self._old)}  # a build may still hold the rest

    def _is_mount(self, id: str) -> bool:
        try:
            return self._store.get(id).record_type is RecordType.CACHE_MOUNT
        except RefLost:
            return False

    async def finish(self) -> None:
        """What still waits, as far as there is time; `run` has ended."""
        try:
            async with asyncio.timeout(LAST):
                while self._waiting:
                    await self._do(self._waiting.popitem()[1])
                await self._threads.finish(self._remove)
        except TimeoutError:
            self._log.warning("snapshots of cache mounts were not made", mounts=len(self._waiting))

    def _next(self) -> Job:
        return min(self._waiting.values(), key=self._due)

    def _due(self, job: Job) -> float:
        return 0.0 if job.urgent else self._rests.get(job.name, 0.0)

    def _pause(self) -> float:
        return self._due(self._next()) - asyncio.get_running_loop().time()

    async def _rest(self, pause: float) -> None:
        """Until the next one is due or another one came."""
        try:
            async with asyncio.timeout(pause):
                await self._news.wait()
                self._news.clear()
        except TimeoutError:
            return

    async def _do(self, job: Job) -> None:
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._old.update({self._copies.pop(job.name)} if job.name in self._copies else ())
        try:
            layers = await self._packed(job)
            await self._tell(job, layers)
        except Exception as error:  # pruned meanwhile, a full disk, a store that is away, …: it stays warm here only
            self._log.info("no snapshot of a cache mount", mount=job.name.id[:100], error=f"{type(error).__name__}: {error}")
            await self._tell(job, ())
        now = loop.time()
        self._rests = {name: until for name, until in self._rests.items() if until > now}
        self._rests[job.name] = now + max(self._settings.every, SHARE * (now - began))

    async def _packed(self, job: Job) -> tuple[Layer, ...]:
        """Its layers, found here by their chain from now on; () when it is too large."""
        async with seen(self._threads, self._store, job.id) as path:
            own = await self._threads.do(self._store.layers, job.id)
            if (await self._threads.do(self._store.sizes, [job.id])).get(job.id, 0) > self._settings.max_size:
                return ()
            if len(own) <= self._settings.depth:
                layers = await self._pack(job.id)
                if sum(layer.size for layer in layers) <= self._settings.max_size:
                    return layers
            copy = await self._threads.finish(self._copy, job, path)
            self._copies[job.name] = copy  # for the next step here
            layers = await self._pack(copy)
        return layers if sum(layer.size for layer in layers) <= self._settings.max_size else ()

    async def _pack(self, id: str) -> tuple[Layer, ...]:
        layers = await self._packs.pack(id, transport_of(Ref(id=id, home=self._home), Scope(lease="")), Silent())
        await self._threads.do(self._name, id, layers)
        return layers

    def _name(self, id: str, layers: tuple[Layer, ...]) -> None:
        """What another executor makes of it lies on top of what is here already, and needs not be unpacked here again."""
        for disk, chain in zip(self._store.layers(id), chain_ids([layer.diff_id for layer in layers]), strict=True):
            if self._store.find(f"chain:{chain}") is None:
                self._store.put(disk.id, f"chain:{chain}")

    def _copy(self, job: Job, path: str) -> str:
        """All of it in one layer."""
        made = self._store.prepare(None, record_type=RecordType.CACHE_MOUNT, description=self._store.get(job.id).description)
        try:
            copy_tree(path, self._store.layers(made.id)[-1].path)
            self._store.commit(made.id)
        except BaseException:
            self._store.unclaim(made.id)
            raise
        return made.id

    async def _tell(self, job: Job, layers: tuple[Layer, ...]) -> None:
        def change(kept: KeptMount) -> KeptMount | None:
            if not layers:
                return kept.given_up(job.turn)
            return kept.with_snapshot(job.turn, layers, mode=job.mode, uid=job.uid, gid=job.gid)

        try:
            after = await self._records.change(job.name, change)
        except BuildmeshError as error:
            self._log.info("a snapshot of a cache mount could not be told", mount=job.name.id[:100], error=error.message)
            return
        if layers and after is not None:
            self._log.debug("cache mount kept", mount=job.name.id[:100], turn=job.turn, layers=len(layers), bytes=after.size)

    def statistics(self) -> dict[str, int]:
        """Mounts that wait."""
        return {"unkept": len(self._waiting)}
