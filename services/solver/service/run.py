"""The solver's `run`: builds the adapters, serves builds until cancelled or drained."""

import asyncio
import json
from collections.abc import Coroutine, Sequence
from typing import Any

from services.solver.adapters.build_memory import BusMemory, NoMemory
from services.solver.adapters.cache_index import CachestoreIndex
from services.solver.adapters.containers import ExecutorContainers
from services.solver.adapters.executors import ExecutorFleet, ExecutorWork
from services.solver.adapters.fleet_runs import FleetRuns, Unshared
from services.solver.adapters.fleet_turns import FleetTurns
from services.solver.adapters.left_builds import LeftBuilds
from services.solver.adapters.outlets import BusJournal, BusLeases, ExporterCalls, FrontendCalls
from services.solver.adapters.policy_sessions import PolicySessions
from services.solver.adapters.regexes import RegexProcesses
from services.solver.adapters.session_exporters import SessionExporters
from services.solver.config import SolverConfig
from services.solver.core.graph import LoadRules
from services.solver.core.scheduler import Scheduler
from services.solver.core.trace import Trace
from services.solver.service.build import World
from services.solver.service.builds import Builds, renew_leases
from services.solver.service.caching import CacheRoads
from services.solver.service.engine import Engine
from services.solver.service.nested import NestedBuilds
from services.solver.service.progress import Hub
from shared.errors import InvalidInput
from shared.run import Mesh, new_id
from shared.run.backends import BlobClaims
from shared.telemetry import names
from shared.telemetry.metrics import FAST
from shared.wire import subjects
from shared.wire.messages import SolveBuild

BUILT_IN = ("buildConfig", "builderPlatform", "platform")
RENEW = 10.0  # seconds between lease renewals (docs/bus.md)


async def run(config: SolverConfig, mesh: Mesh) -> None:
    """Serve until cancelled, or drained and the last build has ended."""
    mesh.readiness.expect("solver")
    fleet = ExecutorFleet(mesh.bus, mesh.log)
    overhead = mesh.metrics.histogram(names.OP_OVERHEAD, FAST)
    work = ExecutorWork(mesh.calls, fleet, mesh.log, overhead, shares=config.shares)
    hub = Hub(mesh.clock.now_ns)
    leases = BusLeases(mesh.bus)

    def rules(entitlements: Sequence[str]) -> LoadRules:
        return LoadRules(default_platform=fleet.default_platform(), entitlements=entitlements)

    async with asyncio.TaskGroup() as tasks:
        index = CachestoreIndex(mesh.calls, mesh.log, mesh.clock.now_ns, tasks)
        runs = FleetRuns(home=mesh.instance, calls=mesh.calls, claims=index, tasks=tasks, log=mesh.log)
        exports = ExporterCalls(mesh.calls)
        engine = Engine(
            scheduler=Scheduler(trace=Trace(config.trace)),
            index=index,
            work=work,
            sharing=Unshared() if mesh.alone else runs,
            nested=NestedBuilds(work, rules),
            hub=hub,
            log=mesh.log,
            tracer=mesh.tracer,
            tasks=tasks,
        )
        builds = Builds(
            config=config,
            world=_world(mesh, engine, work, fleet, CacheRoads(index=index, work=work, exports=exports, log=mesh.log), config),
            exports=exports,
            fleet=fleet,
            journal=BusJournal(mesh.bus, mesh.log),
            leases=leases,
            hub=hub,
            calls=mesh.calls,
            now=mesh.clock.now_ns,
            log=mesh.log,
            tracer=mesh.tracer,
            tasks=tasks,
        )
        beside = {"joins": runs.serve(), "executors": fleet.watch(), "leases": renew_leases(builds, leases, RENEW)}
        if not mesh.alone:
            beside |= _fleet_helpers(mesh, work, builds)
        helpers = [tasks.create_task(helper, name=name) for name, helper in beside.items()]
        mesh.metrics.gauge(names.BUILDS_RUNNING).watch(lambda: len(builds.running()))
        mesh.readiness.up("solver")
        slots = asyncio.Semaphore(config.builds)
        await mesh.calls.work(subjects.BUILDS, {SolveBuild: builds.solve}, slots=slots, abandoned={SolveBuild: builds.abandoned})
        for helper in helpers:
            helper.cancel()


def _fleet_helpers(mesh: Mesh, work: ExecutorWork, builds: Builds) -> dict[str, Coroutine[Any, Any, None]]:
    """What only several solvers need."""
    return {
        "left builds": LeftBuilds(mesh.bus, builds.running, mesh.log).run(),
        "turns": FleetTurns(mesh.instance, work.admission).run(mesh.bus),
    }


def _world(mesh: Mesh, engine: Engine, work: ExecutorWork, fleet: ExecutorFleet, caches: CacheRoads, config: SolverConfig) -> World:
    return World(
        engine=engine,
        work=work,
        files=work,
        fleet=fleet,
        frontends=FrontendCalls(mesh.calls),
        caches=caches,
        memory=NoMemory() if mesh.alone else BusMemory(mesh.bus, BlobClaims(mesh.claims), new_id(), mesh.log),
        containers=ExecutorContainers(mesh.calls, fleet),
        regexes=RegexProcesses(),
        verdicts=PolicySessions(mesh.sessions),
        client_exporters=SessionExporters(mesh.sessions),
        provenance_env=_environment(config),
    )


def _environment(config: SolverConfig) -> dict[str, Any]:
    """Raises InvalidInput for what is no JSON object."""
    try:
        found = json.loads(config.provenance_env or "{}")
    except ValueError as error:
        raise InvalidInput(f"provenance_env is no JSON: {error}") from None
    if not isinstance(found, dict):
        raise InvalidInput("provenance_env is no JSON object")
    for key in BUILT_IN:
        if key in found:
            raise InvalidInput(f'key "{key}" is builtin and not allowed to be modified in provenance config')
    return found
