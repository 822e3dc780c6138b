"""Takes builds from the queue and answers each: claim, check, solve, export, let go."""

import asyncio
from collections.abc import Callable

from services.solver.config import SolverConfig
from services.solver.core.entitlements import grant
from services.solver.ports import Exports, Fleet, Journal, Leases
from services.solver.service.bridge import Bridge
from services.solver.service.build import RunningBuild, World
from services.solver.service.caching import check_cache_exports
from services.solver.service.exports import Exporting, checked_outputs, named_by_client
from services.solver.service.progress import Hub, Stream
from services.solver.service.provenance import Provenance
from services.solver.service.sbom import with_sbom
from shared.bus.calls import Calls, Served
from shared.errors import AlreadyExists, BuildmeshError, Code, Internal, InvalidInput, Unavailable, Unsupported, stack_detail
from shared.model import is_safe_id
from shared.telemetry import Log, Tracer
from shared.wire import subjects
from shared.wire.messages import SolveBuild, SolveDone

COMPATIBILITY = (0, 10, 20, 30)


class Builds:
    """The builds of this process."""

    def __init__(
        self,
        *,
        config: SolverConfig,
        world: World,
        exports: Exports,
        fleet: Fleet,
        journal: Journal,
        leases: Leases,
        hub: Hub,
        calls: Calls,
        now: Callable[[], int],
        log: Log,
        tracer: Tracer,
        tasks: asyncio.TaskGroup,
    ) -> None:
        self._tasks = tasks
        self._config = config
        self._world = world
        self._exports = exports
        self._fleet = fleet
        self._journal = journal
        self._leases = leases
        self._hub = hub
        self._calls = calls
        self._now = now
        self._log = log
        self._tracer = tracer
        self._running: dict[str, RunningBuild] = {}

    def running(self) -> list[str]:
        """Refs of the builds that run now; also their leases."""
        return list(self._running)

    async def give_up_lost(self) -> None:
        """While this process stood still or was cut off, others may have taken its builds over: two would write the same outputs."""
        for ref, build in list(self._running.items()):
            if not await self._world.memory.is_mine(ref):
                self._log.warning("another solver has taken a build over", build=ref)
                build.ownership.reschedule(asyncio.get_running_loop().time())

    async def solve(self, request: SolveBuild, served: Served) -> SolveDone:
        """Handler of SolveBuild. Whatever happens, the event log gets its end mark and the lease is released."""
        if not is_safe_id(request.ref):
            raise InvalidInput(f"invalid build ref: {request.ref[:100]!r}")
        if request.ref in self._running:
            raise AlreadyExists(f"job ID {request.ref} exists", code=Code.UNKNOWN)
        stream = Stream(request.ref, self._journal, self._now)
        try:
            entitlements = grant(request.entitlements, self._config.entitlements)
            resumed = await self._world.memory.claim(request.ref, served.order) or served.attempt > 1
            build = self._running[request.ref] = RunningBuild(request, entitlements, self._world, stream, self._tracer.current())
            return await self._run(build, resumed=resumed)
        finally:
            running = self._running.pop(request.ref, None)
            if running is not None:
                running.ledger.close()
            self._world.engine.close_job(request.ref)
            self._hub.close(request.ref)
            letting_go = self._tasks.create_task(self._let_go(request.ref, stream, served), name=f"end of {request.ref}")
            await asyncio.shield(letting_go)  # a client that goes just now must not leave the half of it

    async def _let_go(self, ref: str, stream: Stream, served: Served) -> None:
        if await self._world.memory.is_mine(ref):
            await stream.end()
            await self._leases.release(ref)
            await self._world.memory.forget(ref)
        else:
            served.disown()

    async def abandoned(self, request: SolveBuild) -> None:
        """Nobody wants this build any more, which a solver may have begun that is gone: nobody else would remove what it wrote."""
        if is_safe_id(request.ref) and request.ref not in self._running:
            await self._leases.release(request.ref)
            await self._world.memory.forget(request.ref, begun_elsewhere=True)

    async def _run(self, build: RunningBuild, *, resumed: bool) -> SolveDone:
        self._hub.open(build.stream, build.ref)
        self._world.engine.open_job(build.job)
        await self._leases.renew([build.ref])
        bridge = Bridge(build, self._fleet.workers)
        outcome: SolveDone | BuildmeshError
        async with asyncio.TaskGroup() as tasks:
            pump = tasks.create_task(build.stream.pump(), name="progress")
            serving = [
                tasks.create_task(self._calls.serve(subjects.build_bridge(build.ref), bridge.handlers(), lasting=True), name="bridge"),
                tasks.create_task(self._calls.serve(subjects.build_runs(build.ref), bridge.for_frontends(), lasting=True), name="runs"),
            ]
            try:
                if resumed and build.is_driven:
                    self._log.info("a build of a solver that is gone goes on here", build=build.ref)
                    await build.resume()
                async with build.ownership:
                    outcome = await self._outcome(build)
            except BuildmeshError as error:
                outcome = error
            except TimeoutError:
                outcome = Unavailable("another solver has taken this build over")
            except Exception as error:
                self._log.error("a build failed in an unforeseen way", build=build.ref, error=f"{type(error).__name__}: {error}")
                outcome = Internal(f"{type(error).__name__}: {error}")
            finally:
                await build.containers.release_all(self._log)
            pump.cancel()
            for served in serving:
                served.cancel()
        if isinstance(outcome, BuildmeshError):
            self._log.info("build failed", build=build.ref, error=outcome.message)
            if outcome.detail("stack.Stack+json") is None:
                outcome.with_details(stack_detail(outcome))
            raise outcome
        return outcome

    async def _outcome(self, build: RunningBuild) -> SolveDone:
        request = build.request
        _check_request(request)
        outputs = await checked_outputs(request.exporters, request.session, self._exports)
        result = await build.result()
        await build.evaluate(result)
        result = await with_sbom(build, result)
        outputs += await named_by_client(build, result, self._exports, len(outputs))
        provenance = Provenance(build, result)
        exporting = Exporting(build, self._exports)
        attestations = await provenance.attestations([output.exporter for output in outputs])
        response = await exporting.run(outputs, result, attestations)
        if request.session_exporter:
            await build.world.client_exporters.finalize(request.session, response)
        cached, total, completed = build.stream.steps()
        self._log.info("build done", build=build.ref, cached=cached, steps=total)
        return SolveDone(
            exporter_response=response,
            descriptors={"": exporting.roots},
            cached_steps=cached,
            total_steps=total,
            completed_steps=completed,
            warnings=build.stream.warnings,
            provenance={} if request.internal else await self._records(provenance, build),
        )

    async def _records(self, provenance: Provenance, build: RunningBuild) -> dict[str, bytes]:
        """For the history; a build that has succeeded does not fail for it."""
        try:
            return await provenance.records()
        except BuildmeshError as error:
            self._log.warning("a build has no provenance in the history", build=build.ref, error=error.message)
            return {}


def _check_request(request: SolveBuild) -> None:
    """What can't be done is refused before any work."""
    if request.compatibility_version not in COMPATIBILITY:
        raise InvalidInput(f"unsupported compatibility version {request.compatibility_version}")
    if request.definition and request.frontend:
        raise InvalidInput("cannot solve with both Definition and Frontend specified")
    if request.proxy_network:  # running without would let steps reach what the client wants to see, and to forbid
        raise Unsupported("the proxy network is not supported by this server yet")
    check_cache_exports(request.cache_exports)


async def renew_leases(builds: Builds, leases: Leases, every: float) -> None:
    """Tell executors each `every` seconds which builds run, until cancelled. Builds that another solver has now are given up before."""
    while True:
        await asyncio.sleep(every)
        await builds.give_up_lost()
        if refs := builds.running():
            await leases.renew(refs)
