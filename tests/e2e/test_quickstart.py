"""What a new user types."""

import sys
import time
from pathlib import Path

import pytest

from tests.kit.clients import run
from tests.kit.parts.buildkitd import REPOSITORY

pytestmark = [pytest.mark.root, pytest.mark.slow]


def test_quickstart(tmp_path: Path) -> None:
    """Starts, builds the example, runs the result, says where it is, leaves nothing running; well below three minutes."""
    env = {"BUILDMESH_QUICKSTART": str(tmp_path / "quickstart"), "BUILDMESH_VENV": sys.prefix}

    begin = time.monotonic()
    said = run([REPOSITORY / "examples/quickstart"], env=env, seconds=170)

    assert "Hello from Buildmesh" in said
    assert (tmp_path / "quickstart/result/hello").exists()
    assert time.monotonic() - begin < 170
    assert str(tmp_path) not in "".join(mounts())


def mounts() -> list[str]:
    """The mount points of this machine."""
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]


def test_launcher_tells_its_verbs() -> None:
    """bin/buildmesh without a daemon."""
    said = run([REPOSITORY / "bin/buildmesh", "--help"], env={"BUILDMESH_VENV": sys.prefix})

    assert {"build", "du", "prune", "workers", "history", "doctor", "up"} <= set(said.split())
