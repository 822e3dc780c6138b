"""Everything that does an executor's work, wired; loaded after the executor has been announced."""

import asyncio

from services.executor.adapters.containers import Containers
from services.executor.adapters.content_hash import ContentHashes
from services.executor.adapters.frontend_images import FrontendImages
from services.executor.adapters.hashing import Hashing
from services.executor.adapters.housekeeping import Housekeeping
from services.executor.adapters.materialise import Materialise
from services.executor.adapters.op_metrics import OpMetrics
from services.executor.adapters.op_runners import make_runners
from services.executor.adapters.pack import LayerPacker
from services.executor.adapters.packing import Packing
from services.executor.adapters.ref_files import RefFiles
from services.executor.adapters.send_trees import TreeSender
from services.executor.adapters.sources.drivers import make_drivers
from services.executor.adapters.sources.image_store import Origins
from services.executor.adapters.sources.layer_fetch import LayerFetch
from services.executor.adapters.tasks import Tasks
from services.executor.config import ExecutorConfig
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
    try:
        await _serve(config, mesh, parts, tasks, http)
    finally:
        await http.close()


async def _serve(config: ExecutorConfig, mesh: Mesh, parts: Parts, tasks: asyncio.TaskGroup, http: HttpPool) -> None:
    hashes = ContentHashes(parts.root / "hashes")
    origins = Origins(pool=http, hosts=config.registries, links=mesh.sessions)
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
    runners, exec_parts = await make_runners(config.steps, mesh, parts.root, parts.store, parts.threads, tasks, parts.platforms)
    work = Tasks(
        home=parts.home,
        materialise=materialise,
        store=parts.store,
        runners=runners,
        drivers=await make_drivers(mesh, parts.home, parts.store, hashes, parts.threads, origins, parts.root),
        slots=parts.slots,
        metrics=OpMetrics(mesh.metrics),
    )
    containers = Containers(home=parts.home, parts=exec_parts, materialise=materialise, tasks=tasks, log=mesh.log)
    landings = Landings(owner=parts.home, relay="", registry=held_here(mesh.sessions), bus=mesh.bus)
    frontends = FrontendImages(
        home=parts.home, parts=exec_parts, materialise=materialise, calls=mesh.calls, landings=landings, log=mesh.log
    )
    house = Housekeeping(
        home=parts.home,
        store=parts.store,
        threads=parts.threads,
        root=parts.root,
        forget=hashes.forget,
        lease_ended=containers.end_lease,
    )
    packing = Packing(
        home=parts.home,
        materialise=materialise,
        fetch=fetch,
        packer=LayerPacker(store=parts.store, blobs=mesh.blobs, fetch=fetch, threads=parts.threads, scratch=parts.root / "packing"),
    )
    hashing = Hashing(materialise=materialise, store=parts.store, hashes=hashes, threads=parts.threads)
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
    here: Handlers = {
        **anywhere,
        RunOp: work.run_pinned,
        ListUsage: house.usage,
        RemoveRefs: house.remove,
        OpenContainer: containers.open,
        RunProcess: containers.run,
        CloseContainer: containers.close,
        ReadContainerFile: containers.read,
        ReadContainerDir: containers.list,
        StatContainerFile: containers.stat,
        RunImage: frontends.run,
    }
    await _answer(config, mesh, parts, tasks, work, house, anywhere, here)


async def _answer(
    config: ExecutorConfig,
    mesh: Mesh,
    parts: Parts,
    tasks: asyncio.TaskGroup,
    work: Tasks,
    house: Housekeeping,
    anywhere: Handlers,
    here: Handlers,
) -> None:
    """Everything that listens; returns when drained."""
    up = mesh.readiness
    background = [
        tasks.create_task(house.follow_leases(mesh.bus, lambda: up.up("executor-leases")), name="leases"),
        tasks.create_task(house.sweep(), name="lease sweep"),
    ]
    async with asyncio.TaskGroup() as serving:
        serving.create_task(mesh.calls.serve(subjects.executor_call(parts.home), here, ready=lambda: up.up("executor")))
        serving.create_task(mesh.calls.serve(subjects.EXECUTOR, anywhere, queue="executor"))
        for queue in sorted(subjects.exec_queues(parts.platforms, parts.emulated, config.all_classes)):
            serving.create_task(mesh.calls.work(queue, {RunOp: work.run}, slots=parts.slots))
    for task in background:
        task.cancel()
