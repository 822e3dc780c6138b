"""Puts the runners of all kinds of ops together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from services.executor.adapters.agent_sockets import AgentSockets
from services.executor.adapters.cache_dirs import CacheDirs
from services.executor.adapters.cdi_specs import CdiSpecs
from services.executor.adapters.closed_networks import close_networks
from services.executor.adapters.container_files import ContainerFiles
from services.executor.adapters.exec_bundle import Bundles
from services.executor.adapters.exec_given import ExecParts
from services.executor.adapters.fleet_locks import FleetLocks
from services.executor.adapters.host import look_at_host
from services.executor.adapters.network import open_networks
from services.executor.adapters.ops_exec import ExecRunner
from services.executor.adapters.ops_file import FileRunner
from services.executor.adapters.ops_stack import DiffRunner, MergeRunner
from services.executor.adapters.runc import Runc
from services.executor.adapters.runtime import find_runtime
from services.executor.adapters.warm_mounts import WarmMounts
from services.executor.core.names_files import Dns
from services.executor.core.settings import NetworkConfig, StepSettings
from services.executor.ports import SnapshotStore
from shared.blobs.threads import Pool
from shared.errors import InvalidInput
from shared.llb import DiffOp, ExecOp, FileOp, MergeOp
from shared.model import Platform
from shared.run.mesh import Mesh

__all__ = ["make_runners"]


async def make_runners(
    settings: StepSettings,
    mesh: Mesh,
    root: Path,
    store: SnapshotStore,
    threads: Pool,
    tasks: asyncio.TaskGroup,
    platforms: tuple[Platform, ...],
    warm: WarmMounts | None,
) -> tuple[Mapping[type, Any], ExecParts]:
    """Runners by the op's type, working below `root`, and what containers are run with.

    `warm` makes cache mounts warm on other executors. What an earlier process left there is ended and removed.
    """
    dns = Dns(nameservers=settings.network.nameservers, search=settings.network.search_domains, options=settings.network.dns_options)
    files = await threads.do(ContainerFiles, root / "files", dns)
    if settings.network.closed:
        await _close(settings.network, await threads.do(files.nameservers))
    caches = CacheDirs(store, threads, None if mesh.alone else FleetLocks(mesh.bus, tasks), warm)
    exec_parts = await threads.finish(_exec_parts, settings, mesh, root, store, threads, platforms, caches, files)
    return {
        ExecOp: ExecRunner(exec_parts),
        FileOp: FileRunner(mesh.instance, store, threads),
        MergeOp: MergeRunner(store, threads),
        DiffOp: DiffRunner(store, threads),
    }, exec_parts


async def _close(network: NetworkConfig, nameservers: Sequence[str]) -> None:
    if network.mode != "bridge":
        raise InvalidInput(f'network mode "{network.mode}": networks can be closed to steps on a bridge only')
    await close_networks(network.bridge_name, network.closed, nameservers)


def _exec_parts(
    settings: StepSettings,
    mesh: Mesh,
    root: Path,
    store: SnapshotStore,
    threads: Pool,
    platforms: tuple[Platform, ...],
    caches: CacheDirs,
    files: ContainerFiles,
) -> ExecParts:
    runc = Runc(find_runtime(settings.runtime), root / "runc")
    runc.clear()
    bundles = Bundles(
        root=root / "run",
        store=store,
        files=files,
        host=look_at_host(),
        cgroup_parent=settings.cgroup_parent,
    )
    return ExecParts(
        home=mesh.instance,
        store=store,
        threads=threads,
        runc=runc,
        bundles=bundles,
        networks=open_networks(settings.network, root, threads),
        caches=caches,
        agents=AgentSockets(root / "ssh", mesh.sessions),
        links=mesh.sessions,
        platforms=tuple(p.normalized() for p in platforms),
        limits=settings.limits,
        cdi=CdiSpecs(settings.cdi.folders, settings.cdi.auto_allowed, mesh.log),
        echo=settings.echo,
    )
