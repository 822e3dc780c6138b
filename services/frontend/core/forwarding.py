"""A Dockerfile that is written for another frontend is handed on, with all options (dockerfile/builder/build.go forwardGateway)."""

from collections.abc import Mapping

from services.frontend.core.failure import DockerfileError
from services.frontend.core.outcome import Outcome
from services.frontend.core.requests import Asking, Forward
from services.frontend.core.syntax import OtherFrontend


def forward_to(other: OtherFrontend, raw: Mapping[str, str]) -> Asking[Outcome]:
    """What it gives. An error that has no place yet gets the line that asks for the frontend."""
    try:
        given: object = yield Forward(frontend="gateway.v0", options={**raw, "cmdline": other.cmdline, "source": other.image})
    except DockerfileError as error:
        if error.cause is not None and error.cause.detail("errdefs.Source+json") is not None:
            raise
        if other.prefix:
            raise error.prefixed(other.prefix) from None
        raise (error.at(other.location) if other.location is not None else error) from None
    return Outcome(given=given)
