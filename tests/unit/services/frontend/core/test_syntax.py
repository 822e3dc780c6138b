"""Which frontend a Dockerfile asks for, and which of them the built-in one is (docs/adr/0010)."""

import pytest

from services.frontend.core.failure import Location
from services.frontend.core.syntax import OtherFrontend, asked_for, stands_for_built_in

PLACE: Location = ()  # whatever it is, it is handed on
OWN = "registry.example/my/frontend:1"


@pytest.mark.parametrize(
    "image",
    [
        "docker/dockerfile", "docker/dockerfile:1", "docker/dockerfile:1.7-labs", "docker.io/docker/dockerfile:latest",
        "docker/dockerfile-upstream:master", f"docker/dockerfile@sha256:{'a' * 64}", "dockerfile.v0",
    ],
)  # fmt: skip
def test_the_official_image_is_built_in(image: str) -> None:
    assert stands_for_built_in(image, {})
    assert asked_for({}, (image, image, PLACE)) is None


@pytest.mark.parametrize("image", [OWN, "dockerfile", "evil/docker/dockerfile", "registry.example/docker/dockerfile:1", "A B", ""])
def test_others_are_not(image: str) -> None:
    assert not stands_for_built_in(image, {})


@pytest.mark.parametrize("name", ["docker/dockerfile:1", "docker/dockerfile:1::linux/amd64"])
def test_a_named_context_takes_the_name(name: str) -> None:
    """That is how somebody tries an image of his own in its place."""
    assert not stands_for_built_in("docker/dockerfile:1", {f"context:{name}": "docker-image://mine"})
    assert stands_for_built_in("docker/dockerfile:2", {f"context:{name}": "docker-image://mine"})


def test_the_argument_goes_before_the_line() -> None:
    found = asked_for({"build-arg:BUILDKIT_SYNTAX": f"{OWN} --opt"}, ("docker/dockerfile:1", "x", PLACE))

    assert found == OtherFrontend(image=OWN, cmdline=f"{OWN} --opt", prefix=f"failed with build-arg:BUILDKIT_SYNTAX = {OWN} --opt")
    assert asked_for({"build-arg:BUILDKIT_SYNTAX": "docker/dockerfile:1"}, (OWN, OWN, PLACE)) is None


def test_the_line_is_where_errors_are_told() -> None:
    assert asked_for({}, (OWN, f"{OWN} -x", PLACE)) == OtherFrontend(image=OWN, cmdline=f"{OWN} -x", location=PLACE)
    assert asked_for({}, None) is None
