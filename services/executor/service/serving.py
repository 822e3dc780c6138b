"""Everything that does an executor's work, wired; loaded after the executor has been announced."""

import asyncio
from dataclasses import dataclass

from services.executor.adapters.containers import Containers
from services.executor.adapters.content_hash import ContentHashes
from services.executor.adapters.file_digests import TreeDigests
from services.executor.adapters.file_layers import LayersOfFiles
from services.executor.adapters.frontend_images import FrontendImages
from services.executor.adapters.full_disk import FullDisk
from services.executor.adapters.hashing import Hashing
from services.executor.adapters.housekeeping import Housekeeping
from services.executor.adapters.joined_ops import JoinedOps
from services.executor.adapters.materialise import Materialise
from services.executor.adapters.mount_records import MountRecords
from services.executor.adapters.mount_snapshots import MountSnapshots
from services.executor.adapters.network import Networks
from services.executor.adapters.op_metrics import OpMetrics
from services.executor.adapters.op_runners import make_runners
from services.executor.adapters.pack import LayerPacker
from services.executor.adapters.packing import Packing
from services.executor.adapters.presence import PRESENCE_TTL
from services.executor.adapters.publishing import Neighbours, Publisher
from services.executor.adapters.ref_files import RefFiles
from services.executor.adapters.send_trees import TreeSender
from services.executor.adapters.sources.drivers import make_drivers
from services.executor.adapters.sources.fleet_flight import LIFE as PULL_LIFE
from services.executor.adapters.sources.fleet_flight import FleetFlight
from services.executor.adapters.sources.image_store import Origins
from services.executor.adapters.sources.layer_fetch import LayerFetch
from services.executor.adapters.sources.registry_rests import RegistryRests
from services.executor.adapters.tasks import Tasks
from services.executor.adapters.warm_mounts import WarmMounts
from services.executor.config import ExecutorConfig, Publish
from services.executor.core.places import Places, places_of
from services.executor.core.snapshots import LayerStyle
from services.executor.service.parts import Parts
from shared.bus.calls import Handlers
from shared.registry.client import HttpPool
from shared.run.flight import Flight
from shared.run.landings import Landings
from shared.run.mesh import Mesh
from shared.run.sessions import held_here
from shared.wire import subjects
from shared.wire.messages import (
    CloseContainer,
    ContentHash,
    FileDigests,
    FileLayers,
    ListUsage,
    OpenContainer,
    Pack,
    ReadContainerDir,
    ReadContainerFile,
    ReadRefDir,
    ReadRefFile,
    RemoveRefs,
    ResolveSource,
    RunImage,
    RunOp,
    RunProcess,
    SendTrees,
    StatContainerFile,
    StatRefFile,
)


async def serve(config: ExecutorConfig, mesh: Mesh, parts: Parts, tasks: asyncio.TaskGroup) -> None:
    """Until cancelled or drained; `tasks` for what outlives a call."""
    http = HttpPool()
    resting = tasks.create_task(RegistryRests(http).follow(mesh.bus), name="registry rests")
    try:
        workers = await _workers(config, mesh, parts, tasks, http)
        try:
            await _answer(config, mesh, parts, tasks, workers)
        finally:
            await workers.networks.close()
    finally:
        resting.cancel()
        await http.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workers:
    """Who answers what."""

    work: Tasks
    containers: Containers
    frontends: FrontendImages
    house: Housekeeping
    packing: Packing
    hashing: Hashing
    files: RefFiles
    sender: TreeSender
    publisher: Publisher
    digests: TreeDigests
    file_layers: LayersOfFiles
    mounts: MountSnapshots | None
    others: Neighbours
    networks: Networks

    def anywhere(self) -> Handlers:
        """What any executor can answer."""
        return {
            ResolveSource: self.work.resolve,
            ContentHash: self.hashing.hash,
            ReadRefFile: self.files.read,
            ReadRefDir: self.files.list,
            StatRefFile: self.files.stat,
            Pack: self.packing.pack,
            SendTrees: self.sender.send,
            FileDigests: self.digests.digest,
            FileLayers: self.file_layers.find,
        }

    def here(self) -> Handlers:
        """What this one is asked by name."""
        return {
            **self.anywhere(),
            RunOp: self.work.run_pinned,
            ListUsage: self.house.usage,
            RemoveRefs: self.house.remove,
            OpenContainer: self.containers.open,
            RunProcess: self.containers.run,
            CloseContainer: self.containers.close,
            ReadContainerFile: self.containers.read,
            ReadContainerDir: self.containers.list,
            StatContainerFile: self.containers.stat,
            RunImage: self.frontends.run,
        }


async def _workers(config: ExecutorConfig, mesh: Mesh, parts: Parts, tasks: asyncio.TaskGroup, http: HttpPool) -> Workers:
    home, store, threads = parts.home, parts.store, parts.threads
    hashes = ContentHashes(parts.root / "hashes")
    origins = Origins(pool=http, hosts=config.registries, links=mesh.sessions)
    pulls = None if mesh.alone else await mesh.bus.bucket(subjects.KV_PULLS, ttl=PULL_LIFE.ttl)
    fleet = FleetFlight(pulls, home)
    fetch = LayerFetch(mesh.blobs, origins, Flight(tasks), fleet)
    materialise = Materialise(
        home=home, store=store, blobs=mesh.blobs, fetch=fetch, calls=mesh.calls, threads=threads, flight=Flight(tasks)
    )
    packer = LayerPacker(store=store, blobs=mesh.blobs, fetch=fetch, threads=threads, scratch=parts.root / "packing")
    others = Neighbours(home)
    mounts, warm = _mounts(config, mesh, parts, packer, materialise, others)
    runs = tuple(p for p in parts.platforms if p not in parts.wrapped)
    runners, exec_parts = await make_runners(config.steps, mesh, parts.root, store, threads, tasks, runs, warm)
    drivers = await make_drivers(mesh, home, store, hashes, threads, origins, parts.root, fleet)
    places = Places(places_of(parts.width))
    containers = Containers(home=home, parts=exec_parts, materialise=materialise, places=places, tasks=tasks, log=mesh.log)
    landings = Landings(owner=home, relay="", registry=held_here(mesh.sessions), bus=mesh.bus)
    publisher = _publisher(config, mesh, home, packer, parts.slots, others)
    return Workers(
        work=Tasks(
            home=home,
            materialise=materialise,
            store=store,
            runners=runners,
            drivers=drivers,
            slots=parts.slots,
            joined=JoinedOps(tasks),
            metrics=OpMetrics(mesh.metrics),
            made=publisher.offer,
        ),
        containers=containers,
        frontends=FrontendImages(
            home=home, parts=exec_parts, materialise=materialise, places=places, calls=mesh.calls, landings=landings, log=mesh.log
        ),
        house=Housekeeping(
            home=home, store=store, threads=threads, root=parts.root, forget=hashes.forget, lease_ended=containers.end_lease
        ),
        packing=Packing(home=home, materialise=materialise, fetch=fetch, packer=packer),
        hashing=Hashing(materialise=materialise, store=store, hashes=hashes, threads=threads),
        files=RefFiles(materialise=materialise, store=store, threads=threads),
        sender=TreeSender(materialise=materialise, store=store, threads=threads, links=mesh.sessions, scratch=parts.root / "packing"),
        digests=TreeDigests(materialise=materialise, store=store, threads=threads),
        file_layers=LayersOfFiles(fetch=fetch, blobs=mesh.blobs, threads=threads),
        networks=exec_parts.networks,
        publisher=publisher,
        mounts=mounts,
        others=others,
    )


def _publisher(
    config: ExecutorConfig, mesh: Mesh, home: str, packer: LayerPacker, slots: asyncio.Semaphore, others: Neighbours
) -> Publisher:
    wanted = others if config.publish is Publish.AUTO else config.publish is Publish.ALWAYS
    return Publisher(home=home, packs=packer, calls=mesh.calls, wanted=wanted, log=mesh.log, busy=slots.locked)


def _mounts(
    config: ExecutorConfig, mesh: Mesh, parts: Parts, packer: LayerPacker, materialise: Materialise, others: Neighbours
) -> tuple[MountSnapshots, WarmMounts] | tuple[None, None]:
    """Nothing where cache mounts stay on this executor: alone, switched off, or on a disk without overlays."""
    if mesh.alone or not config.cache_mounts.share or parts.store.style is not LayerStyle.OVERLAY:
        return None, None
    records = MountRecords(mesh.bus, mesh.clock)
    snapshots = MountSnapshots(
        home=parts.home,
        store=parts.store,
        packs=packer,
        records=records,
        threads=parts.threads,
        settings=config.cache_mounts,
        log=mesh.log,
        busy=parts.slots.locked,
    )
    return snapshots, WarmMounts(
        store=parts.store,
        threads=parts.threads,
        materialise=materialise,
        records=records,
        snapshots=snapshots,
        wanted=others.__bool__,
        settings=config.cache_mounts,
        log=mesh.log,
    )


async def _answer(config: ExecutorConfig, mesh: Mesh, parts: Parts, tasks: asyncio.TaskGroup, workers: Workers) -> None:
    """Everything that listens; returns when drained."""
    up = mesh.readiness
    disk = FullDisk(parts.root, parts.slots, parts.width, others=workers.others.__bool__, log=mesh.log)
    resolve, run_pinned = disk.leaving(workers.work.resolve), disk.leaving(workers.work.run_pinned)
    background = [
        tasks.create_task(disk.watch(), name="full disk"),
        tasks.create_task(workers.house.follow_leases(mesh.bus, lambda: up.up("executor-leases")), name="leases"),
        tasks.create_task(workers.house.sweep(), name="lease sweep"),
        tasks.create_task(workers.hashing.keep(), name="content hashes"),
        tasks.create_task(workers.others.follow(mesh.bus, PRESENCE_TTL), name="neighbours"),
        tasks.create_task(workers.publisher.run(), name="publishing"),
    ]
    if workers.mounts is not None:
        background.append(tasks.create_task(workers.mounts.run(), name="cache mounts"))
    async with asyncio.TaskGroup() as serving:
        named = subjects.executor_call(parts.home)
        here = {**workers.here(), RunOp: run_pinned, ResolveSource: resolve}
        serving.create_task(mesh.calls.serve(named, here, ready=lambda: up.up("executor")))
        serving.create_task(mesh.calls.serve(subjects.EXECUTOR, {**workers.anywhere(), ResolveSource: resolve}, queue="executor"))
        for queue in sorted(subjects.exec_queues(parts.platforms, parts.emulated, config.all_classes)):
            serving.create_task(mesh.calls.work(queue, {RunOp: disk.leaving(workers.work.run)}, slots=parts.slots))
    for task in background:
        task.cancel()
    await workers.publisher.finish()
    if workers.mounts is not None:
        await workers.mounts.finish()
