"""After everybody has died several times: what is left on the machine and on the bus. Runs after the other chaos tests, on their fleet."""

import pytest

from tests.chaos.conftest import Fleet
from tests.kit import remains

pytestmark = [pytest.mark.root, pytest.mark.slow]

LEASES_END = 90.0
"""Seconds. The longest lease is an executor's on what a build uses, 60 s."""


def test_nothing_is_left_behind(fleet: Fleet) -> None:
    """Within the time of the longest lease."""
    fleet.ready()

    left = remains.gone(lambda: remains.left(fleet.stack, fleet.cgroup), LEASES_END)

    assert left == {}


def test_nothing_is_left_when_all_have_ended(fleet: Fleet) -> None:
    """Told to stop, they take with them what they kept for the next step. The last test of this fleet."""
    codes = {name: fleet.stack.stop(name) for name in fleet.stack.parts}

    left = remains.gone(lambda: remains.left_by_the_dead(fleet.stack, fleet.cgroup), 10)

    assert codes == dict.fromkeys(codes, 0)
    assert left == {}
