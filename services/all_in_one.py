"""The six services as one Program: what `python -m services` and buildmeshd run."""

import asyncio
import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from services.cachestore.config import CachestoreConfig
from services.daemon.amounts import Caps, default_policy, disk_of
from services.executor.config import ExecutorConfig
from services.exporter.config import ExporterConfig
from services.frontend.config import FrontendConfig
from services.gateway.config import GatewayConfig
from services.solver.config import SolverConfig
from shared.run import settings
from shared.run.backends import MeshConfig
from shared.run.environment import overlaid
from shared.run.mesh import Mesh
from shared.run.process import Program, Runner

TIERS = (("gateway",), ("solver",), ("frontend", "exporter"), ("executor",), ("cachestore",))
"""Who stops first: each tier is served by the ones after it."""
LOADED = ("gateway", "executor", "solver", "frontend", "cachestore", "exporter")
"""Who is loaded first: a client's first questions go to the gateway, which asks for executors."""
ANSWERING = ("gateway", "executor")
ANSWERS = ("gateway", "executor-presence")
"""What of the process's readiness means that those first questions are answered. All else is loaded after that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllConfig:
    """One table per service, and `[mesh]`."""

    mesh: MeshConfig = field(default_factory=MeshConfig)
    gateway: GatewayConfig = field(default_factory=GatewayConfig)
    frontend: FrontendConfig = field(default_factory=FrontendConfig)
    solver: SolverConfig = field(default_factory=SolverConfig)
    executor: ExecutorConfig = field(default_factory=ExecutorConfig)
    exporter: ExporterConfig = field(default_factory=ExporterConfig)
    cachestore: CachestoreConfig = field(default_factory=CachestoreConfig)


def load(
    path: Path | None,
    *,
    state: Path | None = None,
    addresses: Sequence[str] = (),
    http: str = "",
    log_level: str = "",
    environment: Mapping[str, str] | None = None,
) -> AllConfig:
    """The file's configuration, changed by the environment and then by the command line. Raises InvalidInput naming file and key."""
    tables = settings.read_toml(path) if path is not None else {}
    types: dict[str, type] = typing.get_type_hints(AllConfig)
    config = settings.build(AllConfig, overlaid(tables, environment or {}, types))
    mesh, gateway, executor = config.mesh, config.gateway, config.executor
    if state is not None:
        mesh = dataclasses.replace(mesh, state=state.absolute())
    mesh = dataclasses.replace(mesh, log_level=log_level or mesh.log_level, http=http or mesh.http)
    if addresses:
        gateway = dataclasses.replace(gateway, addresses=tuple(addresses))
    if not executor.gc_policy:
        executor = dataclasses.replace(executor, gc_policy=default_policy(Caps(), disk_of(mesh.state)))
    return dataclasses.replace(config, mesh=mesh, gateway=gateway, executor=executor)


def all_in_one(config: AllConfig, environment: Mapping[str, str], *, on_ready: Callable[[], None] | None = None) -> Program:
    """All six over one bus. Each service's code is loaded when it starts, the gateway's first: it answers while others are loading."""
    loader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="loading")

    def runner(name: str, settings: object) -> Runner:
        async def run(mesh: Mesh) -> None:
            if name not in ANSWERING:
                await mesh.readiness.wait_for(ANSWERS)
            module = await asyncio.get_running_loop().run_in_executor(loader, import_module, f"services.{name}.service")
            await module.run(settings, mesh)

        return run

    services = {name: runner(name, getattr(config, name)) for name in LOADED}
    return Program(mesh=config.mesh, services=services, tiers=TIERS, environment=dict(environment), on_ready=on_ready)
