"""The end of a fleet (its name puts it last)."""

import pytest

from tests.e2e.compose.conftest import Fleet, down
from tests.e2e.compose.leftovers import Leftovers

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(900)]  # the first of them builds an image and starts a fleet


def test_down_leaves_nothing(fleet: Fleet) -> None:
    """Mounts, cgroups, networks, containers, volumes are those of before."""
    down(fleet.compose)

    assert Leftovers.seen(fleet.compose.docker).minus(fleet.before) == {}
