"""The six services as one Program: what `python -m services` and buildmeshd run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from services.cachestore.config import CachestoreConfig
from services.executor.config import ExecutorConfig
from services.exporter.config import ExporterConfig
from services.frontend.config import FrontendConfig
from services.gateway.config import GatewayConfig
from services.solver.config import SolverConfig
from shared.run.backends import MeshConfig
from shared.run.mesh import Mesh
from shared.run.process import Program

TIERS = (("gateway",), ("solver",), ("frontend", "exporter"), ("executor",), ("cachestore",))
"""Who stops first: each tier is served by the ones after it."""


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


def all_in_one(config: AllConfig, environment: Mapping[str, str], *, on_ready: Callable[[], None] | None = None) -> Program:
    """All six over one bus."""
    from services.cachestore.service import run as cachestore
    from services.executor.service import run as executor
    from services.exporter.service import run as exporter
    from services.frontend.service import run as frontend
    from services.gateway.service import run as gateway
    from services.solver.service import run as solver

    async def run_gateway(mesh: Mesh) -> None:
        await gateway(config.gateway, mesh)

    async def run_frontend(mesh: Mesh) -> None:
        await frontend(config.frontend, mesh)

    async def run_solver(mesh: Mesh) -> None:
        await solver(config.solver, mesh)

    async def run_executor(mesh: Mesh) -> None:
        await executor(config.executor, mesh)

    async def run_exporter(mesh: Mesh) -> None:
        await exporter(config.exporter, mesh)

    async def run_cachestore(mesh: Mesh) -> None:
        await cachestore(config.cachestore, mesh)

    services = {
        "gateway": run_gateway,
        "frontend": run_frontend,
        "solver": run_solver,
        "executor": run_executor,
        "exporter": run_exporter,
        "cachestore": run_cachestore,
    }
    return Program(mesh=config.mesh, services=services, tiers=TIERS, environment=dict(environment), on_ready=on_ready)
