"""Wires the frontend: calls on `call.frontend`."""

from collections.abc import Mapping
from concurrent.futures import Executor, ThreadPoolExecutor

from services.frontend.adapters.bridge import BridgeBuild
from services.frontend.adapters.driver import Driver
from services.frontend.adapters.failures import mesh_error
from services.frontend.config import FrontendConfig
from services.frontend.core.build import Frontend, Order, Outcome
from services.frontend.core.context import Entrypoint
from services.frontend.core.dockerfile.linter import LintWarning
from services.frontend.core.failure import DockerfileError
from services.frontend.core.syntax import require_built_in
from shared.bus.calls import Calls, Served
from shared.errors import InvalidInput
from shared.model import Platform
from shared.run.ids import new_id
from shared.run.mesh import Mesh
from shared.wire import subjects
from shared.wire.messages import BridgeRef, BridgeResult, RunFrontend

__all__ = ["run"]

_DEFAULT_PLATFORM = Platform(os="linux", architecture="amd64")


class FrontendService:
    """The handler of RunFrontend."""

    def __init__(self, calls: Calls, pool: Executor) -> None:
        self._calls = calls
        self._pool = pool

    async def run_frontend(self, request: RunFrontend, served: Served) -> BridgeResult:
        """Runs dockerfile.v0; gateway.v0 for images that stand for it."""
        waiting: list[tuple[Entrypoint, LintWarning]] = []
        build = BridgeBuild(self._calls, request)

        async def show_warnings() -> None:
            while waiting:
                await build.warn(*waiting.pop(0))

        platforms = [platform for worker in request.workers for platform in worker.platforms]
        order = Order(
            options=_options(request),
            session=request.session,
            build_platform=platforms[0] if platforms else _DEFAULT_PLATFORM,
            new_id=new_id,
            warn=lambda entrypoint, warning: waiting.append((entrypoint, warning)),
        )
        frontend = Frontend(order)
        driver = Driver(build, self._pool, show_warnings)
        try:
            outcome: Outcome = await driver.run(frontend.run())
        except DockerfileError as error:
            await show_warnings()
            raise mesh_error(error, frontend.entrypoint) from error
        return _result(outcome, build.refs)


def _options(request: RunFrontend) -> dict[str, str]:
    options = dict(request.opts)
    if request.frontend == "gateway.v0":
        try:
            require_built_in(options.get("source", ""))
        except DockerfileError as error:
            raise mesh_error(error, None) from error
        options.setdefault("cmdline", options["source"])
    elif request.frontend != "dockerfile.v0":
        raise InvalidInput(f"invalid frontend: {request.frontend}")
    return options


def _result(outcome: Outcome, refs: Mapping[str, BridgeRef]) -> BridgeResult:
    return BridgeResult(
        ref=refs[outcome.tree.id] if outcome.tree is not None else None,
        refs={key: refs[tree.id] for key, tree in outcome.trees.items()},
        metadata=outcome.metadata,
    )


async def run(config: FrontendConfig, mesh: Mesh) -> None:
    """Serve until cancelled or drained."""
    mesh.readiness.expect("frontend")
    with ThreadPoolExecutor(max_workers=max(1, config.threads), thread_name_prefix="frontend") as pool:
        service = FrontendService(mesh.calls, pool)
        await mesh.calls.serve(
            subjects.FRONTEND,
            {RunFrontend: service.run_frontend},
            queue="frontend",
            ready=lambda: mesh.readiness.up("frontend"),
        )
