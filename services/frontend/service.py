"""Wires the frontend: calls on `call.frontend`."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor

from services.frontend.adapters.bridge import BridgeBuild
from services.frontend.adapters.driver import Driver
from services.frontend.adapters.failures import mesh_error
from services.frontend.config import FrontendConfig
from services.frontend.core.build import Frontend, Order
from services.frontend.core.context import Entrypoint
from services.frontend.core.dockerfile.linter import LintWarning
from services.frontend.core.failure import DockerfileError
from services.frontend.core.image_frontend import ImageOrder, Machine, run_image
from services.frontend.core.outcome import Outcome
from services.frontend.core.syntax import stands_for_built_in
from shared.bus.calls import Calls, Served
from shared.errors import InvalidInput
from shared.model import Platform
from shared.run.ids import new_id
from shared.run.mesh import Mesh
from shared.wire import subjects
from shared.wire.messages import BridgeRef, BridgeResult, RunFrontend, sbom_bundle

__all__ = ["run"]

_WARNINGS = 100
"""Warnings in one call; each brings its text, the Dockerfile comes once."""

_DEFAULT_PLATFORM = Platform(os="linux", architecture="amd64")


class FrontendService:
    """The handler of RunFrontend."""

    def __init__(self, calls: Calls, pool: Executor, *, allowed_images: Sequence[str] = ()) -> None:
        self._calls, self._pool, self._allowed_images = calls, pool, allowed_images

    async def run_frontend(self, request: RunFrontend, served: Served) -> BridgeResult:
        """Runs dockerfile.v0, or orders what gateway.v0 means: an image, unless it is one that dockerfile.v0 stands for."""
        options = dict(request.opts)
        match request.frontend:
            case "dockerfile.v0":
                return await self._dockerfile(request, options)
            case "gateway.v0" if "source" in options and stands_for_built_in(options["source"], options):
                return await self._dockerfile(request, {"cmdline": options["source"], **options})
            case "gateway.v0":
                return await self._image(request, options)
        raise InvalidInput(f"invalid frontend: {request.frontend}")

    async def _image(self, request: RunFrontend, options: dict[str, str]) -> BridgeResult:
        build = BridgeBuild(self._calls, request)
        order = ImageOrder(
            options=options,
            session=request.session,
            build_platform=_build_platform(request),
            machines=[Machine(id=w.id, labels=w.labels, platforms=w.platforms) for w in request.workers],
            has_inputs=bool(request.inputs),
            local_unique_id=new_id(),
            allowed=self._allowed_images,
        )
        try:
            outcome: Outcome = await Driver(build, self._pool, _nothing).run(run_image(order))
        except DockerfileError as error:
            raise mesh_error(error, None) from error
        return _result(outcome, build.refs)

    async def _dockerfile(self, request: RunFrontend, options: dict[str, str]) -> BridgeResult:
        waiting: list[tuple[Entrypoint, LintWarning]] = []
        build = BridgeBuild(self._calls, request)

        async def show_warnings() -> None:
            while waiting:
                shown, waiting[:] = waiting[:_WARNINGS], waiting[_WARNINGS:]
                await build.warn(shown[0][0], [warning for _, warning in shown])  # all are about the one Dockerfile

        order = Order(
            options=options,
            session=request.session,
            build_platform=_build_platform(request),
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


def _build_platform(request: RunFrontend) -> Platform:
    return next((platform for worker in request.workers for platform in worker.platforms), _DEFAULT_PLATFORM)


async def _nothing() -> None:
    return None


def _result(outcome: Outcome, refs: Mapping[str, BridgeRef]) -> BridgeResult:
    if isinstance(outcome.given, BridgeResult):
        return outcome.given
    return BridgeResult(
        ref=refs[outcome.tree.id] if outcome.tree is not None else None,
        refs={key: refs[tree.id] for key, tree in outcome.trees.items()},
        metadata=outcome.metadata,
        attestations={key: (sbom_bundle(refs[tree.id]),) for key, tree in outcome.bundles.items()},
    )


async def run(config: FrontendConfig, mesh: Mesh) -> None:
    """Serve until cancelled or drained."""
    mesh.readiness.expect("frontend")
    with ThreadPoolExecutor(max_workers=max(1, config.threads), thread_name_prefix="frontend") as pool:
        service = FrontendService(mesh.calls, pool, allowed_images=config.allowed_images)
        await mesh.calls.serve(
            subjects.FRONTEND,
            {RunFrontend: service.run_frontend},
            queue="frontend",
            ready=lambda: mesh.readiness.up("frontend"),
        )
