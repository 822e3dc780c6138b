"""Opens what lives as long as the service, announces the executor, then loads the rest (see the package's docstring)."""

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from services.executor.adapters.platforms import emulated_platforms, emulators, native_platforms
from services.executor.adapters.presence import Presence
from services.executor.adapters.snapshots import DiskSnapshots, open_snapshots
from services.executor.config import CdiSettings, ExecutorConfig
from services.executor.service.parts import Parts
from shared.blobs.threads import Pool
from shared.run.mesh import BLOBS, Mesh
from shared.telemetry import names
from shared.wire.execute import DeviceInfo
from shared.wire.messages import ExecutorInfo

if TYPE_CHECKING:
    from services.executor.adapters.cdi_specs import CdiSpecs

# Alone there is nobody to leave work to, and steps that wait (for a network, for a sleep) are to wait together, as with buildkitd.
_ALONE_SLOTS = 256
_LABEL = "org.mobyproject.buildkit.worker."


async def run(config: ExecutorConfig, mesh: Mesh) -> None:
    """Until cancelled or drained."""
    os.umask(0)  # every mode in a build is literal (BuildKit cmd/buildkitd/main_unix.go)
    for part in ("executor", "executor-leases", "executor-presence"):
        mesh.readiness.expect(part)
    root = config.state if config.state != Path() else mesh.state / "executor"
    width = config.max_parallelism or (_ALONE_SLOTS if mesh.alone else slots_of(os.cpu_count() or 1, _memory(), config.step_memory))
    threads = Pool("executor-files", max(4, 2 * (os.cpu_count() or 1)))
    store: DiskSnapshots = await threads.do(open_snapshots, root, style=config.snapshotter)
    native = native_platforms()
    emulated = () if config.platforms else await threads.do(emulated_platforms)
    wrapped = () if config.platforms else tuple(p for p in emulators() if p not in emulated)
    parts = Parts(
        home=mesh.instance,
        root=root,
        store=store,
        threads=threads,
        slots=asyncio.Semaphore(width),
        width=width,
        platforms=config.platforms or (*native, *emulated, *wrapped),
        emulated=(*emulated, *wrapped),
        wrapped=wrapped,
    )
    mesh.metrics.gauge(names.SLOTS).set(width)
    mesh.metrics.gauge(names.LEASES).watch(lambda: store.statistics()["leases"])
    presence = Presence(
        mesh.bus,
        _info(config, parts),
        lambda: width - _free(parts.slots),
        mesh.readiness.draining.is_set,
        _devices(config.cdi, mesh, threads),
    )
    try:
        if not mesh.alone and not await mesh.readiness.reached(BLOBS):
            return  # announced without a key for the blob store, it would take work and fail it
        async with asyncio.TaskGroup() as tasks:
            announcing = tasks.create_task(presence.run(lambda: mesh.readiness.up("executor-presence")), name="presence")
            await mesh.readiness.wait_for(("executor-presence",))
            serving = await threads.do(import_module, "services.executor.service.serving")
            with _cgroup(config, mesh.instance) as parent:
                await serving.serve(replace(config, cgroup_parent=parent), mesh, parts, tasks)
            announcing.cancel()
    finally:
        store.close()
        threads.close()


def _devices(settings: CdiSettings, mesh: Mesh, threads: Pool) -> Callable[[], Awaitable[tuple[DeviceInfo, ...]]]:
    """Told anew each time: drivers come and go. An executor without spec folders starts without what reads them."""

    specs: list[CdiSpecs] = []

    def look() -> tuple[DeviceInfo, ...]:
        if not any(os.path.isdir(folder) for folder in settings.folders):
            return ()
        if not specs:
            from services.executor.adapters.cdi_specs import CdiSpecs  # brings shared.llb along

            specs.append(CdiSpecs(settings.folders, settings.auto_allowed, mesh.log))
        found = specs[0].devices()
        return tuple(DeviceInfo(name=d.name, free=found.is_free(d), annotations=d.annotations) for d in found.all())

    return lambda: threads.do(look)


def _cgroup(config: ExecutorConfig, home: str) -> AbstractContextManager[str]:
    if not config.own_cgroup:
        return nullcontext(config.cgroup_parent)
    from services.executor.adapters.own_cgroup import own_cgroup  # brings shared.llb along, and most executors do without it

    return own_cgroup(config.cgroup_parent, home)


def slots_of(cores: int, memory: int, step: int) -> int:
    """How many ops may run at once on so many cores and bytes of memory, when a step is given `step` bytes."""
    return max(1, min(4 * cores, memory // step if step > 0 else 4 * cores))


def _memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _free(slots: asyncio.Semaphore) -> int:
    return slots._value  # asyncio gives no other way to ask


def _info(config: ExecutorConfig, parts: Parts) -> ExecutorInfo:
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
        platforms=parts.platforms,
        emulated=parts.emulated,
        classes=config.all_classes,
        slots=parts.width,
        gc_policy=config.gc_policy,
    )
