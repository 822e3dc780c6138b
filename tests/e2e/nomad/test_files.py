"""The files of deploy/nomad as Nomad reads them, without running anything: the half of each job that needs Docker, too."""

import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from services.executor.core.settings import NetworkConfig
from shared.run.settings import build
from tests.e2e.nomad.fleet import JOBS, SERVICES
from tests.kit.parts.process import program

pytestmark = pytest.mark.slow


def group(text: Path) -> dict[str, Any]:
    """The only task group of a job file, as Nomad would get it, with the defaults of its variables."""
    said = subprocess.run([program("nomad"), "job", "run", "-output", str(text)], capture_output=True, timeout=30, check=True).stdout
    (only,) = json.loads(said)["Job"]["TaskGroups"]
    assert isinstance(only, dict)
    return only


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_rolls_and_drains(service: str) -> None:
    """One at a time, back when the new one is not well; Nomad waits longer for the end of a drain than the drain lasts."""
    made = group(JOBS / f"{service}.nomad.hcl")
    (task,) = made["Tasks"]
    update, migrate = made["Update"], made["Migrate"]

    assert (update["MaxParallel"], update["AutoRevert"], update["HealthCheck"]) == (1, True, "checks")
    assert (migrate["MaxParallel"], migrate["HealthCheck"]) == (1, "checks")
    drain = int(task["Templates"][0]["EmbeddedTmpl"].partition("drain_seconds = ")[2].split()[0])
    assert task["KillTimeout"] / 1e9 >= drain + 30
    assert task["KillSignal"] == "SIGTERM"
    (told,) = made["Services"]
    assert (told["Provider"], told["Checks"][0]["Path"]) == ("nomad", "/readyz")


@pytest.mark.parametrize("name", [*SERVICES, "nats", "minio", "jaeger"])
def test_only_the_executor_has_rights(name: str) -> None:
    task, *more = group(JOBS / f"{name}.nomad.hcl")["Tasks"]
    config = task["Config"]

    assert [(other["Name"], other["Config"]["cap_drop"]) for other in more] == ([("users", ["all"])] if name == "minio" else [])
    assert (task["Driver"], config["cap_drop"]) == ("docker", ["all"])
    assert ("cap_add" in config) == (name == "executor")
    assert not config.get("privileged")
    assert (task["User"] == "10001:10001") == (name in SERVICES and name != "executor")


def test_the_executor_asks_for_no_more_than_in_compose() -> None:
    """And a node that has client.hcl grants it."""
    asked = set(group(JOBS / "executor.nomad.hcl")["Tasks"][0]["Config"]["cap_add"])
    listed = (JOBS.parent / "compose/compose.yaml").read_text().partition("cap_add: &rights\n")[2].partition("    security_opt")[0]
    granted = (JOBS / "client.hcl").read_text().partition("allow_caps")[2]

    assert asked == {name.lower() for name in re.findall(r"^ +- ([A-Z_]+)", listed, re.MULTILINE)}
    assert asked == set(re.findall(r'"([a-z_]+)"', granted))


def test_the_executor_keeps_its_snapshots_on_a_host_volume() -> None:
    made = group(JOBS / "executor.nomad.hcl")

    assert made["Volumes"]["state"]["Source"] == "buildmesh-executor"
    assert made["Tasks"][0]["VolumeMounts"][0]["Destination"] == "/var/lib/buildmesh"


def test_steps_reach_no_private_network() -> None:
    """Unless somebody says so: bus, store and gateways are there, and clouds' metadata."""
    (task,) = group(JOBS / "executor.nomad.hcl")["Tasks"]
    text = task["Templates"][0]["EmbeddedTmpl"]
    network = build(NetworkConfig, tomllib.loads(text[text.index("[executor.network]") :])["executor"]["network"], where="network")

    assert (network.mode, network.closed) == ("bridge", ("attached", "private"))


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_its_own_key_of_the_blob_store(service: str) -> None:
    """From its own variable, which no other job may read."""
    (task,) = group(JOBS / f"{service}.nomad.hcl")["Tasks"]
    keys = {made["DestPath"]: made["EmbeddedTmpl"] for made in task["Templates"]}

    assert keys["secrets/aws"] == f'{{{{ with nomadVar "nomad/jobs/buildmesh-{service}" }}}}{{{{ .aws }}}}{{{{ end }}}}'
    assert keys["secrets/blobs.env"] == 'AWS_SHARED_CREDENTIALS_FILE={{ env "NOMAD_SECRETS_DIR" }}/aws'


def test_the_scaling_policy_fits_into_the_executors_group(tmp_path: Path) -> None:
    """As README.md says: copied into the group."""
    job = (JOBS / "executor.nomad.hcl").read_text()
    policy = (JOBS / "autoscaler/scaling.hcl").read_text()
    copied = tmp_path / "executor.nomad.hcl"
    copied.write_text(job.replace("    count = var.count\n", f"    count = var.count\n{policy}\n", 1))

    scaling = group(copied)["Scaling"]

    assert (scaling["Min"], scaling["Max"], scaling["Enabled"]) == (1, 20, True)
    assert {rules[0]["group"] for check in scaling["Policy"]["check"] for rules in check.values()} == {"executors"}
    assert "buildmesh_queue_depth" in json.dumps(scaling["Policy"])
    assert "buildmesh_queue_oldest_seconds" in json.dumps(scaling["Policy"])
