"""The job files of deploy/nomad on a real Nomad: what the tests do with them, and builds that go on meanwhile."""

import os
import re
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import pytest

from services.certs import main as make_certificates
from tests.kit.clients import Buildctl, ClientFailed, run
from tests.kit.parts.buildkitd import REPOSITORY
from tests.kit.parts.nats import nats_program
from tests.kit.parts.nomad import Nomad
from tests.kit.parts.process import free_port, http_ok, program

JOBS: Final = REPOSITORY / "deploy/nomad"
by_hand: Final = pytest.mark.skipif(
    not os.environ.get("BUILDMESH_NOMAD_LONG"), reason="minutes, and a machine of its own: BUILDMESH_NOMAD_LONG=1 runs it"
)

SERVICES: Final = ("gateway", "frontend", "solver", "exporter", "cachestore", "executor")


@dataclass(slots=True, kw_only=True)
class Fleet:
    """`settings` are the variables of each job; `builders` clients at a time make up a load."""

    nomad: Nomad
    folder: Path
    settings: dict[str, dict[str, object]]
    client: Buildctl

    def roll(self, *services: str, **changes: object) -> None:
        """Another version of these jobs, each deployed one allocation after the other; counts stay as they are."""
        for service in services:
            self.settings[service].update(changes)
        self.deploy(*services)

    def scale(self, service: str, count: int) -> None:
        """Until so many run, and no others. Nomad takes no such wish while a deployment goes on."""
        self.nomad.wait(lambda: self._asked_for(service, count), 60, lambda: f"buildmesh-{service} can't be scaled")
        self.settings[service]["count"] = count
        self.wait_running(service, count)

    def _asked_for(self, service: str, count: int) -> bool:
        try:
            self.nomad.call("job", "scale", "-detach", f"buildmesh-{service}", service, str(count))
        except ClientFailed as error:
            if "active deployment" not in str(error):
                raise
            return False
        return True

    def wait_running(self, service: str, count: int) -> None:
        """Until so many are healthy, and no others live."""
        job, nomad = f"buildmesh-{service}", self.nomad
        nomad.wait(lambda: len(nomad.running(job)) == count == len(nomad.alive(job)), 60, lambda: f"{job}\n{nomad.said(job)}")

    def deploy(self, *services: str) -> None:
        """Side by side, until all are."""
        for service in services:
            self.nomad.submit(JOBS / f"{service}.nomad.hcl", self.settings[service])
        for service in services:
            self.nomad.wait_deployed(f"buildmesh-{service}", 90)

    def stop(self, *services: str) -> None:
        """`nomad job stop`, until the last of them has drained."""
        jobs, nomad = [f"buildmesh-{service}" for service in services], self.nomad
        for job in jobs:
            nomad.call("job", "stop", "-detach", job)
        nomad.wait(lambda: not any(map(nomad.alive, jobs)), 60, lambda: "\n".join(["still running", *map(nomad.said, jobs)]))

    def start(self, service: str) -> None:
        """After `stop`."""
        self.deploy(service)

    def doors(self) -> list[Buildctl]:
        """Clients of the gateways that say they are ready, as a load balancer would choose among them."""
        found = []
        for row in self.nomad.api("service/buildmesh-gateway"):
            port = next(tag.partition(":")[2] for tag in row["Tags"] if tag.startswith("metrics:"))
            if http_ok(f"http://{row['Address']}:{port}/readyz"):
                found.append(replace(self.client, addr=f"tcp://{row['Address']}:{row['Port']}"))
        return found


def by_raw_exec(folder: Path) -> dict[str, dict[str, object]]:
    """Variables of each job: programs of this machine, services from this checkout."""
    raw: dict[str, object] = {"driver": "raw_exec"}
    checkout = {"python": sys.executable, "environment": {"PYTHONPATH": str(REPOSITORY)}, "drain": 60}
    own: dict[str, dict[str, object]] = {
        "nats": {**raw, "command": nats_program()},
        "minio": {**raw, "command": program("minio"), **{key: checkout[key] for key in ("python", "environment")}},
        **{service: {**raw, **checkout} for service in SERVICES},
    }
    own["executor"] |= {"state": str(folder / "executors"), "network": "auto"}
    return own


@contextmanager
def fleet(nomad: Nomad, folder: Path, own: dict[str, dict[str, object]], address: str = "127.0.0.1") -> Iterator[Fleet]:
    """All jobs, deployed as deploy/nomad/README.md says: certificates, variables, bus and blob store, services.

    `own`: variables of each job; free ports are added. `address`: of the first node.
    """
    certs = folder / "certs"
    assert make_certificates(["--out", str(certs), "--name", address, "--name", "127.0.0.2"]) == 0
    run([certs / "nomad/put"], env=nomad.environment, seconds=60)
    for part in ("nats", "minio", "gateway"):
        own[part]["port"] = free_port()
    client = Buildctl(addr=f"tcp://{address}:{own['gateway']['port']}", work=folder / "client", tls=certs / "clients/me")
    made = Fleet(nomad=nomad, folder=folder, settings=own, client=client)
    made.deploy("nats", "minio")
    made.deploy(*SERVICES)
    yield made


@dataclass(slots=True, kw_only=True)
class Load:
    """Builds without a pause, until told to stop. `failures` has what clients said; `built` counts those whose output was right."""

    build: Callable[[str], None]
    stopping: threading.Event = field(default_factory=threading.Event)
    failures: list[str] = field(default_factory=list)
    built: int = 0

    def go_on(self, name: str) -> None:
        number = 0
        while not self.stopping.is_set():
            number += 1
            try:
                self.build(f"{name}-{number}")
                self.built += 1
            except (ClientFailed, OSError, AssertionError) as error:
                self.failures.append(f"{name}-{number}: {error}")


@contextmanager
def load(build: Callable[[str], None], *, clients: int) -> Iterator[Load]:
    """So many clients build while the block runs; at its end each finishes the build that it is at."""
    made = Load(build=build)
    threads = [threading.Thread(target=made.go_on, args=(f"client{n}",), daemon=True) for n in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield made
    finally:
        made.stopping.set()
        for thread in threads:
            thread.join(120)


def versions(nomad: Nomad, job: str) -> set[Any]:
    """The job versions that run."""
    return {allocation["JobVersion"] for allocation in nomad.running(job)}


def metric(mesh: Fleet, service: str, sample: str) -> float:
    """The sum of a sample (a regular expression) over all instances, found as Prometheus finds them: by the port in their tags."""
    total = 0.0
    for found in mesh.nomad.api(f"service/buildmesh-{service}"):
        port = next(tag.partition(":")[2] for tag in found["Tags"] if tag.startswith("metrics:"))
        with urllib.request.urlopen(f"http://{found['Address']}:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        total += sum(float(value) for value in re.findall(rf"^{sample} (\S+)$", text, re.MULTILINE))
    return total
