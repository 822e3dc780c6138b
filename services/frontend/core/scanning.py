"""The SBOM of a result: the scanner image, and its run for each platform (dockerfile/builder/build.go)."""

from dataclasses import replace

from services.frontend.core.failure import DockerfileError
from services.frontend.core.named_context import reference_of, resolve_image
from services.frontend.core.options import Options
from services.frontend.core.requests import Asking, Solve, SourceFacts, Tree
from services.frontend.core.to_llb.convert import Converted
from shared.errors import BuildFailed
from shared.llb import Scanner, make_scanner, marshal


def find_scanner(options: Options) -> Asking[Scanner | None]:
    """None when no SBOM is wanted. Raises DockerfileError for an image that is none, or can't be run."""
    if options.sbom is None:
        return None
    generator = options.sbom["generator"]
    try:
        reference = reference_of(generator).with_default_tag()
    except DockerfileError as error:
        raise error.prefixed(f"failed to parse sbom scanner {generator}") from None
    platform = options.build_platform
    facts: SourceFacts = yield from resolve_image(str(reference), platform, options.resolve_mode, "")
    parameters = {key: value for key, value in options.sbom.items() if key != "generator"}
    try:
        return make_scanner(facts.identifier.removeprefix("docker-image://"), facts.config or b"", platform, parameters)
    except BuildFailed as error:
        raise DockerfileError(error.message) from None


def scan(scanner: Scanner, name: str, converted: Converted) -> Asking[Tree]:
    """Of one platform. Nothing runs before somebody reads it."""
    scans = converted.scans
    state = scanner.scan(name, converted.stage.state, scans.extras, ignore_cache=scans.ignore_cache)
    tree: Tree = yield Solve(definition=marshal(state, replace(converted.defaults, with_caps=False)))
    return tree
