"""Upgrades in the midst of builds that the simple case does not show: several gateways, and a version that is no good."""

from collections.abc import Callable

import pytest

from tests.e2e.nomad.fleet import JOBS, Fleet, load, versions
from tests.e2e.test_failures import wait_until
from tests.kit.parts.buildkitd import REPOSITORY
from tests.kit.parts.nomad import another_loopback

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(300)]

CLIENTS = 3


def test_gateways_are_rolled_and_a_bad_version_is_taken_back_in_the_midst_of_builds(mesh: Fleet, build: Callable[[str], None]) -> None:
    """Two gateways on two nodes, one after the other: who is connected to the one that goes is served to the end, others take the other.

    Meanwhile executors that do not come up are rolled out; Nomad goes back by itself, and one of the two good ones was there all the time.
    """
    nomad = mesh.nomad
    mesh.scale("executor", 2)
    good = nomad.api("job/buildmesh-executor")["Version"]
    wrong = {"environment": {"PYTHONPATH": str(REPOSITORY), "BUILDMESH_EXECUTOR__NO_SUCH_SETTING": "1"}, "healthy_deadline": "15s"}
    with another_loopback() as interface, nomad.second_node(interface):
        mesh.scale("gateway", 2)
        with load(build, clients=CLIENTS) as builds:
            wait_until(lambda: builds.built >= 1, 60)
            nomad.submit(JOBS / "executor.nomad.hcl", {**mesh.settings["executor"], **wrong})
            mesh.roll("gateway", release="2")
            nomad.wait(lambda: reverted(mesh) == {good + 1: "failed", good + 2: "successful"}, 90, lambda: str(reverted(mesh)))
            rolled, at_last = versions(nomad, "buildmesh-gateway"), {client.addr for client in mesh.doors()}
        mesh.scale("gateway", 1)
    mesh.wait_running("executor", 2)
    told = {row["JobVersion"]: row["StatusDescription"] for row in nomad.api("job/buildmesh-executor/deployments")}
    mesh.scale("executor", 1)

    assert builds.failures == []
    assert builds.built >= 2 * CLIENTS
    assert (len(rolled), len(at_last)) == (1, 2)
    assert f"rolling back to job version {good}" in told[good + 1]


def reverted(mesh: Fleet) -> dict[int, str]:
    """How the deployments of the two newest versions of the executor's job stand."""
    rows = mesh.nomad.api("job/buildmesh-executor/deployments")
    newest = sorted((row["JobVersion"], row["Status"]) for row in rows)[-2:]
    return dict(newest)
