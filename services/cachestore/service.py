"""Wires the cachestore: loads the graph, answers, writes behind, collects garbage."""

import asyncio
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from services.cachestore.adapters import leadership
from services.cachestore.adapters.blob_garbage import BlobGarbage
from services.cachestore.adapters.claims import Claims
from services.cachestore.adapters.executors import TTL, BusHolders
from services.cachestore.adapters.housekeeping import Housekeeping
from services.cachestore.adapters.kept_mounts import KeptMounts
from services.cachestore.adapters.keys_memory import MemoryKeyStore
from services.cachestore.adapters.keys_mirrored import MirroredKeyStore
from services.cachestore.adapters.keys_nats_kv import KvKeyStore
from services.cachestore.adapters.keys_sqlite import SqliteKeyStore
from services.cachestore.adapters.leadership import Leadership
from services.cachestore.adapters.questions import Questions
from services.cachestore.config import CachestoreConfig
from services.cachestore.core.gc_policy import Limits
from services.cachestore.core.key_graph import KeyGraph
from services.cachestore.core.run_claims import RunClaims
from services.cachestore.ports import KeyStore
from shared.bus.calls import Handlers
from shared.bus.ports import KeyValue
from shared.errors import BuildmeshError, InvalidInput
from shared.model import Ref
from shared.run import Mesh
from shared.telemetry import names
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.messages import (
    CacheChain,
    CacheDrop,
    CacheLink,
    CacheQuery,
    CacheRecordsOf,
    CacheSave,
    ClaimRun,
    DiskUsage,
    LayersOf,
    LeaseReleased,
    LeaseRenew,
    Prune,
    RefsPublished,
    ReleaseRuns,
)

GC_DELAY = 1.0  # seconds after a start or a build
SETTLE = 0.02  # seconds between two writes; what changes meanwhile is written together
RETRY = 1.0
GUARD = 20.0  # seconds between two looks whether the store still has what was written
LEASE_SECONDS = 60.0  # without renewal (docs/bus.md)


def open_key_store(config: CachestoreConfig, mesh: Mesh) -> KeyStore:
    """The store that the configuration names. Raises InvalidInput for an unknown scheme."""
    url = config.index or ("sqlite:" if mesh.alone else f"nats-kv://{subjects.KV_KEYS}")
    parts = urlsplit(url)
    match parts.scheme:
        case "sqlite":
            return SqliteKeyStore(Path(parts.path) if parts.path else mesh.state / "cachestore" / "keys.db")
        case "nats-kv":
            bucket = KvKeyStore(mesh.bus, parts.netloc or subjects.KV_KEYS)
            return MirroredKeyStore(SqliteKeyStore(mesh.state / "cachestore" / "keys.db"), bucket)
        case "memory":
            return MemoryKeyStore()
    raise InvalidInput(f"index {url!r}: known are sqlite:, nats-kv:// and memory://")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Blobs that others keep: by name, and as snapshots of cache mounts."""

    pins: KeyValue
    mounts: KeptMounts


class Cachestore:
    """The running service; its parts share the graph and two events."""

    def __init__(self, config: CachestoreConfig, mesh: Mesh, store: KeyStore, holders: BusHolders, kept: Kept) -> None:
        self._config, self._mesh, self._store, self._holders = config, mesh, store, holders
        self._graph = KeyGraph()
        self._dirty = asyncio.Event()
        self._gc_wanted = asyncio.Event()
        self._mounts = kept.mounts
        counter = mesh.metrics.counter(names.CACHE_QUESTIONS)
        self._leases: dict[str, float] = {}
        self._garbage = BlobGarbage(
            blobs=mesh.blobs,
            claims=mesh.claims,
            graph=self._graph,
            holders=holders,
            pins=kept.pins,
            mounts=kept.mounts,
            patient=not mesh.alone,
            builds_running=self._builds_running,
        )
        self._questions = Questions(self._graph, usable=self._usable, changed=self._dirty.set, counter=counter)
        self._claims = Claims(self._graph, self._questions, RunClaims(), usable=self._usable, clock=mesh.clock.monotonic)
        self._house = Housekeeping(
            self._graph,
            holders,
            mesh.clock,
            changed=self._dirty.set,
            freed=mesh.metrics.counter(names.GC_FREED),
            pruned=self._prune_store,
        )
        mesh.metrics.gauge(names.RUN_CLAIMS).watch(self._claims.count)
        mesh.metrics.gauge(names.CACHE_KEYS).watch(lambda: self._graph.statistics()["keys"])
        mesh.metrics.gauge(names.CACHE_RECORDS).watch(lambda: self._graph.statistics()["records"])
        mesh.metrics.gauge(names.CACHE_BYTES).watch(lambda: self._graph.statistics()["bytes"])

    async def _prune_store(self, limits: Limits, filters: Sequence[str]) -> int:
        await self._mounts.prune(limits, filters)
        return await self._garbage.collect()

    def _builds_running(self) -> bool:
        now = self._mesh.clock.monotonic()
        return any(until > now for until in self._leases.values())

    def _usable(self, ref: Ref | None) -> bool:
        return ref is None or bool(ref.layers) or self._holders.alive(ref.home)

    def _handlers(self) -> Handlers:
        return {
            CacheChain: self._questions.chain,
            CacheQuery: self._questions.query,
            CacheRecordsOf: self._questions.records,
            CacheSave: self._questions.save,
            CacheLink: self._questions.link,
            CacheDrop: self._questions.drop,
            ClaimRun: self._claims.claim,
            ReleaseRuns: self._claims.release,
            DiskUsage: self._house.usage,
            Prune: self._house.prune,
        }

    async def run(self) -> None:
        """Until drained; what was saved is durable then."""
        try:
            self._graph.restore(await self._store.load())
            await self._serve()
            await self._flush()
        finally:
            self._claims.end()
            await self._store.close()

    async def _serve(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            behind = [
                tasks.create_task(self._holders.follow(), name="executors"),
                tasks.create_task(self._write_behind(), name="cache index"),
                tasks.create_task(self._hear_leases(), name="leases"),
                tasks.create_task(self._guard(), name="index guard"),
            ]
            if self._config.gc:
                behind.append(tasks.create_task(self._collect(), name="gc"))
            await self._answer()
            for task in behind:
                task.cancel()

    async def _answer(self) -> None:
        calls, readiness = self._mesh.calls, self._mesh.readiness
        layers: Handlers = {RefsPublished: self._questions.publish, LayersOf: self._questions.layers}
        async with asyncio.TaskGroup() as serving:
            serving.create_task(calls.serve(subjects.LAYERS, layers, queue="cachestore"))
            serving.create_task(calls.serve(subjects.CACHE, self._handlers(), queue="cachestore", ready=lambda: readiness.up("cachestore")))

    async def _write_behind(self) -> None:
        while True:
            await self._dirty.wait()
            await self._flush()
            await asyncio.sleep(SETTLE)

    async def _flush(self) -> None:
        """Write what has changed. When the store fails, the changes wait for another try."""
        self._dirty.clear()
        added, removed = self._graph.take_changes()
        if not added and not removed:
            return
        try:
            await asyncio.shield(self._store.write(added, removed))
        except BuildmeshError as error:
            self._graph.return_changes(added, removed)
            self._dirty.set()
            self._mesh.log.error("the cache index could not be written", error=str(error), rows=len(added) + len(removed))
            await asyncio.sleep(RETRY)

    async def _guard(self) -> None:
        """A bucket that was lost with the bus's folder is filled again from memory."""
        while True:
            await asyncio.sleep(GUARD)
            try:
                if not await self._store.intact():
                    rows = self._graph.rows()
                    self._mesh.log.warning("the cache index was lost by its store; written again", rows=len(rows))
                    self._graph.return_changes(rows, [])
                    self._dirty.set()
            except BuildmeshError as error:
                self._mesh.log.warning("the cache index can't be looked at", error=str(error))

    async def _hear_leases(self) -> None:
        """A released lease means that a build has ended: time to collect."""
        codec = Codec()
        async with self._mesh.bus.subscribe(subjects.LEASES) as heard:
            async for delivery in heard:
                try:
                    message = codec.decode(delivery.data).body
                except InvalidInput:
                    continue
                match message:
                    case LeaseRenew():
                        until = self._mesh.clock.monotonic() + LEASE_SECONDS
                        self._leases.update(dict.fromkeys(message.leases, until))
                    case LeaseReleased():
                        self._leases.pop(message.lease, None)
                        self._gc_wanted.set()

    async def _collect(self) -> None:
        await asyncio.sleep(GC_DELAY)
        while True:
            try:
                await self._house.reconcile()
                freed = await self._house.collect()
                if freed or await self._mounts.expire():
                    freed += await self._garbage.collect()
                if freed:
                    self._mesh.log.info("garbage collected", bytes=freed)
            except BuildmeshError as error:
                self._mesh.log.error("garbage collection failed", error=str(error))
            await asyncio.sleep(self._config.gc_interval)
            await self._gc_wanted.wait()
            self._gc_wanted.clear()
            await asyncio.sleep(GC_DELAY)


async def run(config: CachestoreConfig, mesh: Mesh) -> None:
    """The service, until drained (shared.run). Of several processes one answers, the others stand by."""
    if mesh.alone:
        await _answer(config, mesh)
        return
    life = leadership.LIFE
    lead = Leadership(await mesh.bus.bucket(subjects.KV_LEADERS, ttl=life.ttl), mesh.instance, mesh.log, life=life)
    while not mesh.readiness.draining.is_set():
        if await _first(lead.win(lambda: mesh.readiness.up("cachestore")), mesh.readiness.draining.wait()):
            try:
                await _first(_answer(config, mesh), lead.keep())
            finally:
                await lead.resign()


async def _first(work: Coroutine[Any, Any, None], end: Coroutine[Any, Any, object]) -> bool:
    """Runs `work` until it is done (then True) or `end` is."""
    async with asyncio.TaskGroup() as tasks:
        working, ending = tasks.create_task(work), tasks.create_task(end)
        await asyncio.wait((working, ending), return_when=asyncio.FIRST_COMPLETED)
        done = working.done()
        working.cancel()
        ending.cancel()
    return done


async def _answer(config: CachestoreConfig, mesh: Mesh) -> None:
    bucket = await mesh.bus.bucket(subjects.KV_EXECUTORS, ttl=TTL)
    holders = BusHolders(mesh.calls, bucket, mesh.clock, mesh.log, presume_alive=config.presume_alive)
    mounts = KeptMounts(await mesh.bus.bucket(subjects.KV_MOUNTS), mesh.clock, seconds=config.mounts_keep, max_bytes=config.mounts_size)
    kept = Kept(pins=await mesh.bus.bucket(subjects.KV_PINS), mounts=mounts)
    await Cachestore(config, mesh, open_key_store(config, mesh), holders, kept).run()
