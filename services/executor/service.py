"""Wires the executor: snapshots, sources, op runners; pulls work, answers calls, tells that it is there."""

import asyncio
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from services.executor.adapters.content_hash import ContentHashes
from services.executor.adapters.hashing import Hashing
from services.executor.adapters.housekeeping import Housekeeping
from services.executor.adapters.materialise import Materialise
from services.executor.adapters.op_runners import make_runners
from services.executor.adapters.pack import LayerPacker
from services.executor.adapters.packing import Packing
from services.executor.adapters.platforms import supported_platforms
from services.executor.adapters.presence import Presence
from services.executor.adapters.ref_files import RefFiles
from services.executor.adapters.send_trees import TreeSender
from services.executor.adapters.snapshots import DiskSnapshots, open_snapshots
from services.executor.adapters.sources.drivers import make_drivers
from services.executor.adapters.sources.image_store import Origins
from services.executor.adapters.sources.layer_fetch import LayerFetch
from services.executor.adapters.tasks import Tasks
from services.executor.config import ExecutorConfig
from shared.blobs.threads import Pool
from shared.bus.calls import Handlers
from shared.model import Platform
from shared.registry.client import HttpPool
from shared.run.flight import Flight
from shared.run.mesh import Mesh
from shared.wire import subjects
from shared.wire.messages import (
    ContentHash,
    ExecutorInfo,
    ListUsage,
    Pack,
    ReadRefDir,
    ReadRefFile,
    RemoveRefs,
    ResolveSource,
    RunOp,
    SendTrees,
    StatRefFile,
)

# Alone there is nobody to leave work to, and steps that wait (for a network, for a sleep) are to wait together, as with buildkitd.
_ALONE_SLOTS = 256
_LABEL = "org.mobyproject.buildkit.worker."


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What lives as long as the service."""

    home: str
    root: Path
    store: DiskSnapshots
    hashes: ContentHashes
    http: HttpPool
    threads: Pool
    slots: asyncio.Semaphore
    width: int


async def run(config: ExecutorConfig, mesh: Mesh) -> None:
    """Until cancelled or drained."""
    os.umask(0)  # every mode in a build is literal (BuildKit cmd/buildkitd/main_unix.go)
    root = config.state if config.state != Path() else mesh.state / "executor"
    width = config.max_parallelism or (_ALONE_SLOTS if mesh.alone else 4 * (os.cpu_count() or 1))
    threads = Pool("executor-files", max(4, 2 * (os.cpu_count() or 1)))
    store = await threads.do(open_snapshots, root, style=config.snapshotter)
    parts = Parts(
        home=mesh.instance,
        root=root,
        store=store,
        hashes=ContentHashes(root / "hashes"),
        http=HttpPool(),
        threads=threads,
        slots=asyncio.Semaphore(width),
        width=width,
    )
    try:
        async with asyncio.TaskGroup() as tasks:
            await _serve(config, mesh, parts, tasks)
    finally:
        await parts.http.close()
        store.close()
        threads.close()


async def _serve(config: ExecutorConfig, mesh: Mesh, parts: Parts, tasks: asyncio.TaskGroup) -> None:
    origins = Origins(pool=parts.http, hosts=config.registries, links=mesh.sessions)
    fetch = LayerFetch(mesh.blobs, origins, Flight(tasks))
    materialise = Materialise(
        home=parts.home,
        store=parts.store,
        blobs=mesh.blobs,
        fetch=fetch,
        calls=mesh.calls,
        threads=parts.threads,
        flight=Flight(tasks),
    )
    platforms = config.platforms or supported_platforms()
    work = Tasks(
        home=parts.home,
        materialise=materialise,
        store=parts.store,
        runners=await make_runners(config.steps, mesh, parts.root, parts.store, parts.threads, tasks, platforms),
        drivers=await make_drivers(mesh, parts.home, parts.store, parts.hashes, parts.threads, origins, parts.root),
        slots=parts.slots,
    )
    house = Housekeeping(home=parts.home, store=parts.store, threads=parts.threads, root=parts.root, forget=parts.hashes.forget)
    packing = Packing(
        home=parts.home,
        materialise=materialise,
        fetch=fetch,
        packer=LayerPacker(store=parts.store, blobs=mesh.blobs, fetch=fetch, threads=parts.threads, scratch=parts.root / "packing"),
    )
    hashing = Hashing(materialise=materialise, store=parts.store, hashes=parts.hashes, threads=parts.threads)
    files = RefFiles(materialise=materialise, store=parts.store, threads=parts.threads)
    sender = TreeSender(materialise=materialise, store=parts.store, threads=parts.threads, links=mesh.sessions)
    anywhere: Handlers = {
        ResolveSource: work.resolve,
        ContentHash: hashing.hash,
        ReadRefFile: files.read,
        ReadRefDir: files.list,
        StatRefFile: files.stat,
        Pack: packing.pack,
        SendTrees: sender.send,
    }
    here: Handlers = {**anywhere, RunOp: work.run_pinned, ListUsage: house.usage, RemoveRefs: house.remove}
    await _answer(config, mesh, parts, tasks, work, house, anywhere, here, platforms)


async def _answer(
    config: ExecutorConfig,
    mesh: Mesh,
    parts: Parts,
    tasks: asyncio.TaskGroup,
    work: Tasks,
    house: Housekeeping,
    anywhere: Handlers,
    here: Handlers,
    platforms: tuple[Platform, ...],
) -> None:
    """Everything that listens; returns when drained."""
    up = mesh.readiness
    for part in ("executor", "executor-leases", "executor-presence"):
        up.expect(part)
    info = _info(config, parts, platforms)
    presence = Presence(mesh.bus, info, lambda: parts.width - _free(parts.slots), up.draining.is_set)
    background = [
        tasks.create_task(house.follow_leases(mesh.bus, lambda: up.up("executor-leases")), name="leases"),
        tasks.create_task(house.sweep(), name="lease sweep"),
        tasks.create_task(presence.run(lambda: up.up("executor-presence")), name="presence"),
    ]
    async with asyncio.TaskGroup() as serving:
        serving.create_task(mesh.calls.serve(subjects.executor_call(parts.home), here, ready=lambda: up.up("executor")))
        serving.create_task(mesh.calls.serve(subjects.EXECUTOR, anywhere, queue="executor"))
        for klass in config.classes:
            for platform in dict.fromkeys(p.normalized() for p in platforms):
                queue = subjects.exec_queue(platform, klass)
                serving.create_task(mesh.calls.work(queue, {RunOp: work.run}, slots=parts.slots))
    for task in background:
        task.cancel()


def _free(slots: asyncio.Semaphore) -> int:
    return slots._value  # asyncio gives no other way to ask


def _info(config: ExecutorConfig, parts: Parts, platforms: tuple[Platform, ...]) -> ExecutorInfo:
    own: Mapping[str, str] = {
        _LABEL + "executor": "oci",
        _LABEL + "hostname": socket.gethostname(),
        _LABEL + "snapshotter": "overlayfs" if parts.store.style.value == "overlay" else "native",
        _LABEL + "oci.process-mode": "sandbox",
        _LABEL + "selinux.enabled": "false",
    }
    return ExecutorInfo(
        id=parts.home,
        labels={**own, **dict(config.labels)},
        platforms=platforms,
        classes=config.classes,
        slots=parts.width,
        gc_policy=config.gc_policy,
    )
