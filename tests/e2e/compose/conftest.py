"""A fleet from deploy/compose on a Docker Engine of its own: public images are local stand-ins, the project's own is built by Buildmesh."""

import os
import secrets
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.compose.leftovers import Leftovers
from tests.kit.clients import Buildctl, Buildx, ClientFailed
from tests.kit.fleet_images import build_image
from tests.kit.oci_layout import Layout
from tests.kit.parts.buildkitd import REPOSITORY
from tests.kit.parts.compose import Compose, bring, stand_ins
from tests.kit.parts.dockerd import Docker, docker_engine
from tests.kit.parts.process import free_port

FOLDER = REPOSITORY / "deploy/compose"
IMAGE = "buildmesh:latest"
SLOTS = 3
"""Steps at a time on an executor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """compose.yaml, up. `addr` is its gateway from outside, `udp` Jaeger's port there, `jaeger` its page."""

    compose: Compose
    addr: str
    udp: str
    jaeger: str
    before: Leftovers

    def scale(self, executors: int) -> None:
        """So many executors; returns when each is healthy and none too many is left."""
        self.compose.call("up", "-d", "--wait", "--no-recreate", "--scale", f"executor={executors}", "executor")


@pytest.fixture(scope="package")
def engine(parts_folder: Path) -> Iterator[Docker]:
    """A Docker Engine with every image that the files of deploy/compose name. BUILDMESH_TEST_ENGINE=unix://… is one that has them."""
    if ready := os.environ.get("BUILDMESH_TEST_ENGINE"):
        yield Docker(host=ready)
        return
    folder = parts_folder / "compose"
    pool = f"10.{190 + secrets.randbelow(60)}.0.0/16"  # another engine of the machine may run the same test
    with docker_engine(folder / "engine", networks=pool) as docker, ThreadPoolExecutor(1) as beside:
        building = beside.submit(build_image, folder / "image", IMAGE)
        for image in stand_ins():
            bring(docker, image, folder / "stand-in")
        file = building.result(400)
        docker.call("load", "--quiet", "--input", str(file), seconds=180)
        file.unlink()
        yield docker


@pytest.fixture(scope="package")
def fleet(engine: Docker, parts_folder: Path) -> Iterator[Fleet]:
    """`docker compose up -d --wait`, with the profiles (Grafana left out)."""
    port, page, udp = free_port(), free_port(), free_port(socket.SOCK_DGRAM)
    env = {
        "BUILDMESH_PORT": str(port),
        "BUILDMESH_JAEGER_PORT": str(page),
        "BUILDMESH_JAEGER_UDP_PORT": str(udp),
        "BUILDMESH_SLOTS": str(SLOTS),
    }
    before = Leftovers.seen(engine)
    compose = Compose(docker=engine, file=FOLDER / "compose.yaml", work=parts_folder / "compose/fleet", env=env)
    try:
        compose.call("--profile", "tracing", "up", "-d", "--wait")
        compose.call("up", "-d", "--wait", "prometheus")
        addr, jaeger = f"tcp://127.0.0.1:{port}", f"http://127.0.0.1:{page}"
        yield Fleet(compose=compose, addr=addr, udp=f"127.0.0.1:{udp}", jaeger=jaeger, before=before)
    finally:
        down(compose)


def down(compose: Compose) -> None:
    """All of a project, its volumes too; what it said is kept beside."""
    with suppress(ClientFailed):
        if said := compose.call("logs", "--no-color", "--timestamps"):
            (compose.work / "said.log").write_text(said)
    compose.call("--profile", "*", "down", "--volumes", "--remove-orphans", seconds=200)


@pytest.fixture
def buildctl(fleet: Fleet, tmp_path: Path) -> Buildctl:
    return Buildctl(addr=fleet.addr, work=tmp_path / "buildctl", env={"JAEGER_TRACE": fleet.udp})


@pytest.fixture
def buildx(fleet: Fleet, tmp_path: Path) -> Buildx:
    return Buildx(addr=fleet.addr, work=tmp_path / "buildx")


@pytest.fixture
def from_busybox(busybox_layout: Path) -> list[str]:
    """Options of buildctl by which `FROM busybox` is an image of the client's own: the fleet reaches no registry."""
    digest = Layout.digest(busybox_layout, "latest")
    return [f"--oci-layout=busybox={busybox_layout}", f"--opt=context:busybox=oci-layout://busybox@{digest}"]
