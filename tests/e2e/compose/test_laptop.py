"""deploy/compose/laptop.yaml: the all-in-one in one container."""

from pathlib import Path

import pytest

from tests.e2e.compose.conftest import FOLDER, down
from tests.e2e.conftest import context_in
from tests.kit.clients import Buildctl
from tests.kit.parts.compose import Compose
from tests.kit.parts.dockerd import Docker
from tests.kit.parts.process import free_port

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(900)]  # the first of them builds an image and starts a fleet


def test_it_builds_and_keeps_its_cache_over_a_restart(engine: Docker, from_busybox: list[str], tmp_path: Path) -> None:
    port = free_port()
    compose = Compose(docker=engine, file=FOLDER / "laptop.yaml", work=tmp_path / "compose", env={"BUILDMESH_PORT": str(port)})
    client = Buildctl(addr=f"tcp://127.0.0.1:{port}", work=tmp_path / "work")
    context = context_in(tmp_path)("FROM busybox AS b\nRUN echo laptop > /out\nFROM scratch\nCOPY --from=b /out /\n")
    try:
        compose.call("up", "-d", "--wait")
        first = client.build(context, *from_busybox, f"--output=type=local,dest={tmp_path}/one")
        compose.call("restart")
        compose.call("up", "-d", "--wait")
        second = client.build(context, *from_busybox, f"--output=type=local,dest={tmp_path}/two")
    finally:
        down(compose)

    assert (tmp_path / "one/out").read_text() == (tmp_path / "two/out").read_text() == "laptop\n"
    assert (len(first.ran()), second.ran()) == (2, [])
