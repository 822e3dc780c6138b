"""Which frontend a Dockerfile asks for: `# syntax=` and BUILDKIT_SYNTAX, and which of them the built-in one stands for (docs/adr/0010)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from services.frontend.core.failure import DockerfileError, Location
from services.frontend.core.named_context import familiar_name, reference_of

_BUILT_IN = frozenset(("docker.io/docker/dockerfile", "docker.io/docker/dockerfile-upstream"))
_SPACES = re.compile(r"\s")


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherFrontend:
    """A frontend image: `cmdline` is the whole text that asks for it. Errors are told with `prefix`, or at `location`."""

    image: str
    cmdline: str
    prefix: str = ""
    location: Location | None = None


def asked_for(raw: Mapping[str, str], directive: tuple[str, str, Location] | None) -> OtherFrontend | None:
    """None when the frontend asked for is the one that is built in."""
    argument = raw.get("build-arg:BUILDKIT_SYNTAX")
    if argument is not None:
        image = _SPACES.split(argument.strip(), maxsplit=1)[0]
        found = OtherFrontend(image=image, cmdline=argument, prefix=f"failed with build-arg:BUILDKIT_SYNTAX = {argument}")
    elif directive is not None:
        image, cmdline, location = directive
        found = OtherFrontend(image=image, cmdline=cmdline, location=location)
    else:
        return None
    return None if stands_for_built_in(found.image, raw) else found


def stands_for_built_in(image: str, raw: Mapping[str, str]) -> bool:
    """dockerfile.v0 itself, or any version of the official image: this frontend speaks the newest language.

    Unless a named context takes the name: that is how somebody tries an image of his own in its place.
    """
    try:
        reference = reference_of(image)
    except DockerfileError:
        return False
    familiar = familiar_name(reference).removesuffix(":latest")
    if any(key.partition("::")[0] == f"context:{familiar}" for key in raw):
        return False
    return image == "dockerfile.v0" or reference.name in _BUILT_IN
