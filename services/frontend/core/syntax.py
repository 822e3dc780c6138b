"""Which frontend a Dockerfile asks for: `# syntax=` and BUILDKIT_SYNTAX (docs/adr: frontends from images come later)."""

import re

from services.frontend.core.failure import DockerfileError, Location
from services.frontend.core.named_context import reference_of
from shared.errors import Unsupported

_BUILT_IN = frozenset(("docker.io/docker/dockerfile", "docker.io/docker/dockerfile-upstream"))
_SPACES = re.compile(r"\s")


def check_syntax(argument: str | None, directive: tuple[str, str, Location] | None) -> None:
    """Passes when the frontend asked for is the one that is built in. Raises DockerfileError otherwise."""
    if argument is not None:
        image = _SPACES.split(argument.strip(), maxsplit=1)[0]
        if not _is_built_in(image):
            raise _not_yet(image, f"failed with build-arg:BUILDKIT_SYNTAX = {argument}")
    elif directive is not None:
        image, _, location = directive
        if not _is_built_in(image):
            raise _not_yet(image, "").at(location)


def require_built_in(image: str) -> None:
    """Raises DockerfileError when an image asked for by name (gateway.v0) is not the one that is built in."""
    if not image:
        raise DockerfileError("no source specified for gateway")
    if not _is_built_in(image):
        raise _not_yet(image, "")


def _is_built_in(image: str) -> bool:
    """dockerfile.v0 itself, or any version of the official image: this frontend speaks the newest language."""
    if image == "dockerfile.v0":
        return True
    try:
        return reference_of(image).name in _BUILT_IN
    except DockerfileError:
        return False


def _not_yet(image: str, prefix: str) -> DockerfileError:
    message = f"frontend image {image} can't be run: frontends from images are not supported by this server yet"
    error = DockerfileError(message, cause=Unsupported(message))
    return error.prefixed(prefix) if prefix else error
