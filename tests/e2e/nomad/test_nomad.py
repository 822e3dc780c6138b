"""deploy/nomad on a real Nomad agent: built, scaled, upgraded and stopped in the midst of builds, without a failed build."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.nomad.fleet import Fleet, load, metric, versions
from tests.e2e.test_failures import sleeping, wait_until
from tests.kit.parts.process import child

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(300)]

CLIENTS = 3


def test_the_fleet_builds(mesh: Fleet, build: Callable[[str], None]) -> None:
    """Each service is found and well; slots are told, none of them in use after the build."""
    build("first")

    assert metric(mesh, "executor", "buildmesh_executor_slots") >= 1
    assert metric(mesh, "executor", "buildmesh_executor_slots_busy") == 0


def test_scaled_and_upgraded_in_the_midst_of_builds(mesh: Fleet, build: Callable[[str], None]) -> None:
    """1 → 2 executors, all services rolled to another version, 2 → 1: each stops by draining."""
    with load(build, clients=CLIENTS) as builds:
        mesh.scale("executor", 2)
        mesh.roll("executor", release="2")
        upgraded = versions(mesh.nomad, "buildmesh-executor")
        mesh.roll("frontend", "exporter", "solver", "cachestore", release="2")
        mesh.scale("executor", 1)

    assert builds.failures == []
    assert builds.built >= 2 * CLIENTS
    assert len(upgraded) == 1


def test_a_node_is_drained_in_the_midst_of_builds(mesh: Fleet, build: Callable[[str], None]) -> None:
    """Its executor ends what it runs and comes up on another node."""
    nomad = mesh.nomad
    first = nomad.running("buildmesh-executor")[0]["NodeID"]
    with nomad.second_node() as second:
        nomad.call("node", "eligibility", "-disable", first)
        mesh.scale("executor", 2)
        nomad.call("node", "eligibility", "-enable", first)
        before = {allocation["NodeID"] for allocation in nomad.running("buildmesh-executor")}
        with load(build, clients=2) as builds:
            nomad.call("node", "drain", "-enable", "-yes", "-deadline", "60s", second, seconds=90)
            mesh.wait_running("executor", 2)
        after = {allocation["NodeID"] for allocation in nomad.running("buildmesh-executor")}
        mesh.scale("executor", 1)

    assert (before, after) == ({first, second}, {first})
    assert builds.failures == []
    assert builds.built >= 2


def test_stopped_and_started_in_the_midst_of_a_build(mesh: Fleet, busybox: str, tmp_path: Path) -> None:
    """The step that runs ends, the next one waits in the queue for an executor to come: what waits is the autoscaler's signal."""
    waits = r'buildmesh_queue_depth\{queue="work\.exec\.default\.linux-[a-z0-9-]+"\}'
    mark = "2.0417"
    (tmp_path / "Dockerfile").write_text(
        f"FROM {busybox}\nRUN sleep {mark}; echo a > /a\nRUN cat /a > /b\nFROM scratch\nCOPY --from=0 /b /\n"
    )
    argv = [*mesh.client.build_argv(tmp_path), "--output", f"type=local,dest={tmp_path}/out"]
    log = tmp_path / "client.log"
    with log.open("wb") as sink, child(argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink) as started:
        wait_until(lambda: sleeping(mark), 30)
        mesh.stop("executor")
        wait_until(lambda: metric(mesh, "solver", waits) >= 1, 30)
        mesh.start("executor")
        code = started.wait(90)

    assert code == 0, log.read_text()[-4000:]
    assert (tmp_path / "out/b").read_text() == "a\n"
    assert metric(mesh, "solver", waits) == 0
