"""Who may do what in a fleet: rights of containers, open ports, passwords, what steps reach."""

import json
from pathlib import Path

import pytest

from tests.e2e.compose.conftest import Fleet
from tests.e2e.conftest import context_in
from tests.kit.clients import Buildctl

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(900)]  # the first of them builds an image and starts a fleet

CONFINED = ("gateway", "frontend", "solver", "exporter", "cachestore")


def test_every_health_check_is_green(fleet: Fleet) -> None:
    """`up --wait` has said so; here is what the engine says."""
    states = {found.service: found.health or found.exit_code for found in fleet.compose.containers()}

    services = (*CONFINED, "executor", "nats", "minio", "jaeger", "prometheus")
    assert states == {**dict.fromkeys(services, "healthy"), "credentials": 0, "store": 0}


def test_only_the_gateway_is_open_and_on_loopback(fleet: Fleet) -> None:
    """Beside it, the page of a profile that was asked for."""
    bindings = {
        (found.service, binding["HostIp"])
        for found in fleet.compose.containers()
        for rows in found.told["HostConfig"]["PortBindings"].values()
        for binding in rows
    }

    assert bindings == {("gateway", "127.0.0.1"), ("jaeger", "127.0.0.1")}


@pytest.mark.parametrize("service", CONFINED)
def test_five_services_have_no_rights(fleet: Fleet, service: str) -> None:
    """Not root, no capability, no way to get one, nothing to write to but their own folders."""
    look = "id -u; grep -E 'CapEff|CapBnd|NoNewPrivs' /proc/1/status; touch /x /opt/buildmesh/x 2>&1"
    said = fleet.compose.call("exec", "-T", service, "bash", "-c", f"{look}; true").split("\n")

    assert said[0] == "10001"
    assert [line.split()[1] for line in said[1:4]] == ["0" * 16, "0" * 16, "1"]
    assert [line.rpartition(": ")[2] for line in said[4:6]] == ["Read-only file system"] * 2


def test_the_executor_has_the_listed_rights_only(fleet: Fleet) -> None:
    [executor] = fleet.compose.containers("executor")
    host = executor.told["HostConfig"]

    assert not host["Privileged"]
    assert host["CapDrop"] == ["ALL"]
    assert {name.removeprefix("CAP_") for name in host["CapAdd"]} >= {"SYS_ADMIN", "NET_ADMIN"}
    assert not host["PidMode"]
    assert host["NetworkMode"].startswith("buildmesh_")


def test_passwords_are_made_and_shown_nowhere(fleet: Fleet) -> None:
    """Neither in what the engine tells about containers nor in logs."""
    secret = fleet.compose.call("exec", "-T", "gateway", "cat", "/run/credentials/aws").split()[-1]
    told = json.dumps([found.told for found in fleet.compose.containers()]) + fleet.compose.call("logs", "--no-color")

    assert len(secret) == 32
    assert secret not in told


def test_a_step_reaches_nothing_of_the_fleet(fleet: Fleet, buildctl: Buildctl, from_busybox: list[str], tmp_path: Path) -> None:
    """Bus, blob store, gateway and the executor itself, by their addresses; from the executor the same ones answer."""
    ports = (("nats", 4222), ("minio", 9000), ("gateway", 1234), ("gateway", 8080), ("executor", 8080))
    targets = [(found.address("_mesh"), port) for service, port in ports for found in fleet.compose.containers(service)]
    steps = [
        f"RUN nc -w 1 {host} {port} </dev/null && echo {host}:{port} >> /reached; true\n" for host, port in (*targets, ("10.10.0.1", 8080))
    ]
    text = f"FROM busybox AS tried\nRUN touch /reached\n{''.join(steps)}FROM scratch\nCOPY --from=tried /reached /\n"

    buildctl.build(context_in(tmp_path)(text), *from_busybox, f"--output=type=local,dest={tmp_path}/out")
    for host, port in targets:
        fleet.compose.call("exec", "-T", "executor", "bash", "-c", f"exec 3<>/dev/tcp/{host}/{port}")

    assert (tmp_path / "out/reached").read_text() == ""
