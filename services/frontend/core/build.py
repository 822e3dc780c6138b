"""One run of dockerfile.v0: options → definitions for every platform → result (dockerfile/builder/build.go, dockerui/build.go)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

from services.frontend.core.context import Contexts, Entrypoint
from services.frontend.core.dockerfile.directives import detect_syntax
from services.frontend.core.dockerfile.linter import LintWarning
from services.frontend.core.dockerfile.parser import parse
from services.frontend.core.failure import DockerfileError, cap_missing
from services.frontend.core.forwarding import forward_to
from services.frontend.core.image import Image, image_json, platform_json
from services.frontend.core.options import Options, parse_options
from services.frontend.core.outcome import Outcome
from services.frontend.core.requests import Asking, Solve, Together, Tree
from services.frontend.core.scanning import find_scanner, scan
from services.frontend.core.subrequests import answer_subrequest
from services.frontend.core.syntax import asked_for
from services.frontend.core.to_llb.convert import Conversion, Converted, convert
from shared.errors import InvalidInput
from shared.llb import MarshalDefaults, marshal
from shared.model import Platform, format_platform
from shared.oci import go_json

_CAPS = frozenset(f"moby.buildkit.frontend.{name}" for name in ("inputs", "subrequests", "contexts", "gitquerystring"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What the frontend is asked: options and session of the client, platforms of the machines that build, a source of ids.

    `warn` is given each lint warning together with the Dockerfile.
    """

    options: Mapping[str, str]
    session: str
    build_platform: Platform
    new_id: Callable[[], str]
    warn: Callable[[Entrypoint, LintWarning], None]


class Frontend:
    """Runs once. `entrypoint` is set as soon as the Dockerfile is known: errors with places are about it."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.entrypoint: Entrypoint | None = None
        self._parse = lru_cache(maxsize=1)(parse)

    def run(self) -> Asking[Outcome]:
        """Raises DockerfileError."""
        options = parse_options(self.order.options, session=self.order.session, build_platform=self.order.build_platform)
        _check_minimum(options)
        required = _missing_cap(options.raw.get("frontend.caps", ""))
        defaults = MarshalDefaults(platform=self.order.build_platform.normalized(), local_unique_id=self.order.new_id())
        contexts = Contexts(options, defaults)
        entrypoint = yield from contexts.entrypoint()
        self.entrypoint = entrypoint
        if "cmdline" not in options.raw:
            other = asked_for(options.raw, detect_syntax(entrypoint.data))
            if other is not None:
                return (yield from forward_to(other, options.raw))
        if required is not None:
            raise required
        if "requestid" in options.raw:
            return (yield from self._subrequest(contexts, entrypoint))
        return (yield from self._build(contexts, entrypoint))

    def _conversion(self, contexts: Contexts, entrypoint: Entrypoint, platform: Platform | None, *, first: bool) -> Conversion:
        warn = self.order.warn
        return Conversion(
            contexts=contexts,
            source_map=entrypoint.source_map,
            platform=platform,
            new_id=self.order.new_id,
            warn=(lambda warning: warn(entrypoint, warning)) if first else None,
            build_args=dict(contexts.options.build_args),
            parse=self._parse,
        )

    def _subrequest(self, contexts: Contexts, entrypoint: Entrypoint) -> Asking[Outcome]:
        conversion = self._conversion(contexts, entrypoint, None, first=True)
        try:
            return Outcome(metadata=(yield from answer_subrequest(contexts.options.raw["requestid"], conversion)))
        except DockerfileError as error:
            error.locations.clear()  # BuildKit sends no source with these
            raise

    def _build(self, contexts: Contexts, entrypoint: Entrypoint) -> Asking[Outcome]:
        scanner = yield from find_scanner(contexts.options)
        platforms: list[Platform | None] = list(contexts.options.target_platforms) or [None]
        conversions = [self._conversion(contexts, entrypoint, p, first=n == 0) for n, p in enumerate(platforms)]
        built: list[_Built] = yield Together([_solve(c, contexts.options) for c in conversions])
        outcome = Outcome()
        shown = [_export_platform(p or self.order.build_platform, b.image.platform) for p, b in zip(platforms, built, strict=True)]
        for key, b in zip((s["ID"] for s in shown), built, strict=True):
            _add(outcome, str(key), b, several=contexts.options.multi_platform)
        if scanner is not None:
            scans = [scan(scanner, str(s["ID"]), b.converted) for s, b in zip(shown, built, strict=True)]
            found: list[Tree] = yield Together(scans)
            outcome.bundles = {str(s["ID"]): tree for s, tree in zip(shown, found, strict=True)}
        outcome.metadata["refs.platforms"] = go_json({"Platforms": shown})
        return outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class _Built:
    tree: Tree
    image: Image
    base_image: Image | None
    epoch: int | None
    converted: Converted


def _solve(conversion: Conversion, options: Options) -> Asking[_Built]:
    converted: Converted = yield from convert(conversion)
    try:
        definition = marshal(converted.stage.state, converted.defaults)
    except InvalidInput as error:
        raise DockerfileError(f"failed to marshal LLB definition: {error.message}") from None
    tree: Tree = yield Solve(definition=definition, cache_imports=options.cache_imports)
    stage = converted.stage
    return _Built(tree=tree, image=stage.image, base_image=stage.base_image, epoch=converted.setting.epoch, converted=converted)


def _add(outcome: Outcome, key: str, built: _Built, *, several: bool) -> None:
    suffix = f"/{key}" if several else ""
    if several:
        outcome.trees[key] = built.tree
    else:
        outcome.tree = built.tree
    outcome.metadata["containerimage.config" + suffix] = image_json(built.image)
    if built.base_image is not None:
        outcome.metadata["containerimage.base.config" + suffix] = image_json(built.base_image)
    if built.epoch is not None:
        outcome.metadata["source.date.epoch" + suffix] = str(built.epoch).encode()


def _export_platform(platform: Platform, of_image: Platform) -> dict[str, object]:
    """`refs.platforms` entry; Windows takes its version from the base image (dockerui/build.go makeExportPlatform)."""
    platform = platform.normalized()
    key = format_platform(platform, full=True)
    if platform.os == "windows" and of_image.os == "windows":
        platform = Platform(
            os=platform.os,
            architecture=platform.architecture,
            variant=platform.variant,
            os_version=platform.os_version or of_image.os_version,
            os_features=platform.os_features or of_image.os_features,
        ).normalized()
    return {"ID": key, "Platform": platform_json(platform)}


def _check_minimum(options: Options) -> None:
    if options.raw.get("override-copy-image"):
        raise DockerfileError('support for "override-copy-image" was removed in BuildKit 0.11')
    if options.raw.get("build-arg:BUILDKIT_DISABLE_FILEOP", "") in ("1", "t", "T", "TRUE", "true", "True"):
        raise DockerfileError('support for "BUILDKIT_DISABLE_FILEOP" build-arg was removed in BuildKit 0.11')


def _missing_cap(required: str) -> DockerfileError | None:
    """The error for a capability that the caller requires and we lack; raised at once unless it may be forwarded."""
    error: DockerfileError | None = None
    for cap in required.split(",") if required else ():
        name, _, flags = cap.partition("+")
        if name in _CAPS:
            continue
        error = cap_missing(name)
        if "forward" not in flags:
            raise error
    return error
