"""Nomad in development mode: server and client in one process, jobs by `raw_exec` or Docker. What it starts ends with it."""

import json
import os
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.kit.clients import run
from tests.kit.parts.process import Part, free_port, http_ok, program, running, tools_bin

POLL: Final = 0.2

# Cloud providers are not asked who we are, Consul and Vault not looked for. The rest is what README.md asks of a node.
CONFIG: Final = """
bind_addr = "127.0.0.1"
log_level = "INFO"
disable_update_check = true
advertise {{
  http = "127.0.0.1"
  rpc  = "127.0.0.1"
  serf = "127.0.0.1"
}}
ports {{
  http = {http}
  rpc  = {rpc}
  serf = {serf}
}}
client {{
  cpu_total_compute = 64000
  memory_total_mb   = 65536
  max_kill_timeout  = "15m"
  options = {{
    "fingerprint.denylist" = "env_aws,env_gce,env_azure,env_digitalocean,consul,vault,cni,bridge"
    "driver.allowlist"     = "raw_exec,docker"
  }}
}}
plugin "raw_exec" {{
  config {{
    enabled = true
  }}
}}
"""


# A node more, for what needs another place to go to.
SECOND: Final = """
data_dir = "{data}"
name     = "second"
client {{
  enabled           = true
  network_interface = "{interface}"
  servers           = ["127.0.0.1:{server}"]
}}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nomad:
    """`addr` is what NOMAD_ADDR takes; `rpc` the port that other nodes join at."""

    addr: str
    part: Part
    rpc: int
    folder: Path

    @contextmanager
    def second_node(self, interface: str = "lo") -> Iterator[str]:
        """Another client of the same server; its node id. At the end of the block nothing may run there any more.

        `interface`: its address is the device's; see `another_loopback`.
        """
        folder = self.folder / "second"
        folder.mkdir(parents=True)
        config = folder / "agent.hcl"
        http = free_port()
        own = CONFIG.format(http=http, rpc=free_port(), serf=free_port())
        config.write_text(own + SECOND.format(data=folder / "data", server=self.rpc, interface=interface))
        argv = [program("nomad"), "agent", "-config", str(config)]
        health = f"http://127.0.0.1:{http}/v1/agent/health"
        with running("nomad-second", argv, folder=folder, ready=lambda: http_ok(health), seconds=40, grace=20) as part:
            self.wait(lambda: bool(self._node("second")), 40, part.said)
            yield self._node("second")
            forget = urllib.request.Request(f"http://127.0.0.1:{http}/v1/client/gc", method="PUT")
            urllib.request.urlopen(forget, timeout=30).close()
            self.wait(lambda: str(folder) not in Path("/proc/mounts").read_text(), 30, lambda: f"something is mounted in {folder}")

    def _node(self, name: str) -> str:
        found = [node["ID"] for node in self.api("nodes") if node["Name"] == name and node["Status"] == "ready"]
        return str(found[0]) if found else ""

    def call(self, *words: str | Path, seconds: float = 60) -> str:
        """What `nomad WORDS` prints. Raises ClientFailed."""
        return run([program("nomad"), *words], env=self.environment, seconds=seconds)

    @property
    def environment(self) -> dict[str, str]:
        """What the program `nomad` finds this agent by, and itself."""
        return {"NOMAD_ADDR": self.addr, "NOMAD_CLI_NO_COLOR": "1", "PATH": f"{tools_bin()}:{os.environ['PATH']}"}

    def api(self, path: str) -> Any:
        """GET of the HTTP API, decoded."""
        with urllib.request.urlopen(f"{self.addr}/v1/{path}", timeout=10) as answer:
            return json.load(answer)

    def submit(self, file: Path, variables: Mapping[str, object]) -> None:
        """Run a job file, or another version of it; returns at once."""
        given = [f"-var={name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in variables.items()]
        self.call("job", "run", "-detach", "-hcl2-strict=false", *given, file)

    def running(self, job: str) -> list[dict[str, Any]]:
        """The job's allocations whose task runs and whose checks pass."""
        found: list[dict[str, Any]] = self.api(f"job/{job}/allocations")
        return [a for a in found if a["ClientStatus"] == "running" and (a.get("DeploymentStatus") or {}).get("Healthy")]

    def alive(self, job: str) -> list[str]:
        """Ids of the job's allocations that have not ended."""
        return [a["ID"] for a in self.api(f"job/{job}/allocations") if a["ClientStatus"] in ("pending", "running")]

    def wait_deployed(self, job: str, seconds: float = 60) -> None:
        """Until the job's newest version is deployed. Raises AssertionError with what its allocations said."""
        version = self.api(f"job/{job}")["Version"]

        def done() -> bool:
            deployment = self.api(f"job/{job}/deployment") or {}
            if deployment.get("JobVersion") != version:
                return False
            assert deployment["Status"] != "failed", f"{job}: {deployment['StatusDescription']}\n{self.said(job)}"
            return bool(deployment["Status"] == "successful")

        self.wait(done, seconds, lambda: f"{job} is not deployed\n{self.said(job)}")

    def wait(self, done: Callable[[], bool], seconds: float, what: Callable[[], str]) -> None:
        """Until `done()`; AssertionError with `what()` after so many seconds."""
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, f"after {seconds} s: {what()}"
            time.sleep(POLL)

    def said(self, job: str) -> str:
        """Events and output of all allocations of a job, for people."""
        out = []
        for allocation in self.api(f"job/{job}/allocations"):
            for task, state in (allocation["TaskStates"] or {}).items():
                events = [event["DisplayMessage"] for event in state["Events"] or []]
                out.append(f"--- {allocation['Name']} v{allocation['JobVersion']} {allocation['ClientStatus']}: {events[-6:]}")
                out += [self._log(allocation["ID"], task, kind)[-3000:] for kind in ("stdout", "stderr")]
        return "\n".join(out)

    def _log(self, allocation: str, task: str, kind: str) -> str:
        try:
            with urllib.request.urlopen(
                f"{self.addr}/v1/client/fs/logs/{allocation}?task={task}&type={kind}&plain=true", timeout=10
            ) as answer:
                return str(answer.read().decode(errors="replace"))
        except OSError as error:
            return f"no {kind}: {error}"


@contextmanager
def another_loopback() -> Iterator[str]:
    """A device with the address 127.0.0.2, so that what has a fixed port can run twice on this machine; its name."""
    name = f"bm{os.getpid():x}"
    ip = program("ip", "tests/tools/debian run")
    try:
        for words in (
            ("link", "add", name, "type", "bridge"),
            ("address", "add", "127.0.0.2/32", "dev", name),
            ("link", "set", name, "up"),
        ):
            run([ip, *words], seconds=10)
        yield name
    finally:
        run([ip, "link", "delete", name], seconds=10)


@contextmanager
def nomad_agent(folder: Path, *, more: str = "", env: Mapping[str, str] | None = None) -> Iterator[Nomad]:
    """Jobs are stopped before the block ends: the agent leaves what runs running, as it does when it is upgraded.

    `more`: a further configuration file. `env`: for the agent, DOCKER_HOST above all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    http, rpc = free_port(), free_port()
    config = folder / "agent.hcl"
    config.write_text(CONFIG.format(http=http, rpc=rpc, serf=free_port()))
    (folder / "more.hcl").write_text(more)
    argv = [program("nomad"), "agent", "-dev", "-config", str(config), "-config", str(folder / "more.hcl")]
    argv += ["-state-dir", str(folder / "state"), "-alloc-dir", str(folder / "alloc")]
    environment = {"DOCKER_HOST": f"unix://{folder}/no-docker.sock", **(env or {})}
    addr = f"http://127.0.0.1:{http}"
    health = f"{addr}/v1/agent/health"
    with running("nomad", argv, folder=folder, ready=lambda: http_ok(health), env=environment, seconds=40, grace=20) as part:
        nomad = Nomad(addr=addr, part=part, rpc=rpc, folder=folder)
        nomad.wait(lambda: any(node["Status"] == "ready" for node in nomad.api("nodes")), 40, part.said)
        try:
            yield nomad
        finally:
            _leave_nothing(nomad, folder)


def _leave_nothing(nomad: Nomad, folder: Path) -> None:
    """Jobs are stopped, then forgotten, as the secrets of each allocation are a file system of their own."""
    for job in nomad.api("jobs"):
        nomad.call("job", "stop", "-purge", "-detach", job["ID"])
    ended = ("complete", "failed", "lost")
    nomad.wait(lambda: all(a["ClientStatus"] in ended for a in nomad.api("allocations")), 60, lambda: "jobs still run")
    nomad.call("system", "gc")
    nomad.wait(lambda: str(folder) not in Path("/proc/mounts").read_text(), 30, lambda: f"something is mounted in {folder}")
