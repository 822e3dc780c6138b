"""The other half of deploy/nomad: the same engine and images under Nomad's Docker driver, on a node as client.hcl describes it.

It begins when the Compose fleet has ended (its name puts it last).
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.compose.leftovers import Leftovers
from tests.e2e.conftest import context_in
from tests.e2e.nomad.fleet import JOBS, SERVICES, Fleet, by_hand, fleet, metric
from tests.e2e.test_failures import wait_until
from tests.kit.clients import run
from tests.kit.parts.dockerd import Docker
from tests.kit.parts.nomad import nomad_agent

pytestmark = [by_hand, pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(900)]  # the first of them builds an image

IMAGE = "buildmesh:1"
"""Nomad asks a registry about `latest`, each time."""

VOLUMES = {"nats": 0, "minio": 0, "cachestore": 10001, "executor": 0}
"""Host volumes and whose they are."""

HELLO = "FROM busybox AS make\nCOPY word /\nRUN cat /word /word > /out\nFROM scratch\nCOPY --from=make /out /\n"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a node keeps its host volumes."""
    folder = tmp_path_factory.mktemp("node")
    for name, owner in VOLUMES.items():
        (folder / name).mkdir(mode=0o700)
        shutil.chown(folder / name, owner, owner)
    return folder


@pytest.fixture(scope="module")
def mesh(engine: Docker, node: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """All jobs by Docker, with the defaults that the files have."""
    engine.call("tag", "buildmesh:latest", IMAGE)
    before = Leftovers.seen(engine)
    bridge, address = engine.bridge()
    client = (JOBS / "client.hcl").read_text()
    assert "/srv/buildmesh" in client
    more = client.replace("/srv/buildmesh", str(node)) + f'client {{\n  network_interface = "{bridge}"\n}}\n'
    ours: dict[str, object] = {"image": IMAGE, "drain": 60}
    own: dict[str, dict[str, object]] = {"nats": {}, "minio": {"own_image": IMAGE}, **{service: dict(ours) for service in SERVICES}}
    own["executor"]["count"] = 2  # who is alone publishes nothing
    folder, env = tmp_path_factory.mktemp("fleet"), {"DOCKER_HOST": engine.host}
    with nomad_agent(folder / "nomad", more=more, env=env) as nomad, fleet(nomad, folder, own, address) as started:
        yield started
    assert Leftovers.seen(engine).minus(before) == {}


def test_the_fleet_builds_in_containers(mesh: Fleet, engine: Docker, from_busybox: list[str], tmp_path: Path) -> None:
    """Six services, bus and blob store are containers of the engine; what the client gets is right."""
    context = context_in(tmp_path)(HELLO, {"word": "docker "})
    mesh.client.build(context, *from_busybox, f"--output=type=local,dest={tmp_path}/out")

    assert (tmp_path / "out/out").read_text() == "docker docker "
    told = engine.call("ps", "--filter=label=com.hashicorp.nomad.alloc_id", "--format={{.Names}}")
    assert {name.partition("-")[0] for name in told.split()} == {*SERVICES, "nats", "minio"}


def test_a_restored_fleet_has_its_cache_and_its_history(mesh: Fleet, node: Path, from_busybox: list[str], tmp_path: Path) -> None:
    """README.md, «Backup»: everything but the backup is lost, the executors' disks as well."""
    context = context_in(tmp_path)(HELLO, {"word": f"{time.time_ns()} "})
    before = metric(mesh, "cachestore", "buildmesh_cache_bytes")
    first = mesh.client.build(context, *from_busybox, f"--ref-file={tmp_path}/ref", f"--output=type=local,dest={tmp_path}/one")

    wait_until(lambda: metric(mesh, "cachestore", "buildmesh_cache_bytes") > before, 20)
    mesh.stop(*SERVICES)
    mesh.stop("minio", "nats")
    run(["tar", "-C", node, "--numeric-owner", "-cf", tmp_path / "backup.tar", "minio", "cachestore", "nats"], seconds=60)
    for name, owner in VOLUMES.items():
        shutil.rmtree(node / name)
        (node / name).mkdir(mode=0o700)
        shutil.chown(node / name, owner, owner)
    run(["tar", "-C", node, "-xpf", tmp_path / "backup.tar"], seconds=60)
    mesh.deploy("nats", "minio")
    mesh.deploy(*SERVICES)
    second = mesh.client.build(context, *from_busybox, f"--output=type=local,dest={tmp_path}/two")

    assert (tmp_path / "one/out").read_text() == (tmp_path / "two/out").read_text()
    assert (len(first.ran()), second.ran()) == (3, [])
    assert (tmp_path / "ref").read_text().strip() in mesh.client.call("debug", "histories")
