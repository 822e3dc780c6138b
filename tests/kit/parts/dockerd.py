"""A Docker Engine (Debian's 20.10): without networking, for loading and running what was built, or with networks, for a fleet."""

import json
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kit.clients import run
from tests.kit.parts.process import Part, accepts, program, running, tools_bin

HOW = "tests/tools/debian docker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker:
    """`host` is what DOCKER_HOST takes; `part` None = an engine that was there before."""

    host: str
    part: Part | None = None

    def call(self, *words: str, seconds: float = 60) -> str:
        """What `docker WORDS` prints. Raises ClientFailed."""
        return run([program("docker", HOW), "--host", self.host, *words], seconds=seconds)

    def bridge(self) -> tuple[str, str]:
        """The device of its default network, and the machine's own address there. Only an engine with networks has one."""
        [told] = json.loads(self.call("network", "inspect", "bridge"))
        return told["Options"]["com.docker.network.bridge.name"], told["IPAM"]["Config"][0]["Gateway"]


@contextmanager
def docker_engine(folder: Path, *, networks: str = "") -> Iterator[Docker]:
    """All of its state is in `folder`; it starts a containerd of its own. `networks`: where its networks get their addresses (10.1.0.0/16).

    The machine's packet filter is left alone: containers reach each other and the machine, nothing else, and a published port is proxied.
    """
    with ExitStack() as stack:
        bridge = stack.enter_context(_bridge(networks)) if networks else "none"
        part = stack.enter_context(_engine(folder, networks, bridge))
        yield Docker(host=f"unix://{folder / 'docker.sock'}", part=part)


@contextmanager
def _engine(folder: Path, networks: str, bridge: str) -> Iterator[Part]:
    socket = folder / "docker.sock"
    argv = [program("dockerd", HOW), "--host", f"unix://{socket}", "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")]
    argv += ["--pidfile", str(folder / "docker.pid"), "--iptables=false", "--ip-forward=false", "--ip-masq=false"]
    argv += [f"--storage-driver={'overlay2' if networks else 'vfs'}", "--exec-opt=native.cgroupdriver=cgroupfs"]
    argv += [f"--bridge={bridge}"]
    if networks:
        argv += ["--default-address-pool", f"base={networks},size=24"]
    path = {"PATH": f"{tools_bin()}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    with running("dockerd", argv, folder=folder, ready=lambda: accepts(str(socket)), env=path, seconds=60, grace=30) as part:
        yield part


@contextmanager
def _bridge(networks: str) -> Iterator[str]:
    """A bridge for the default network, which has no name to be told from that of another engine otherwise; in the last of the networks."""
    name, ip = f"bm{secrets.token_hex(4)}", program("ip", "tests/tools/debian run")
    address = ".".join([*networks.split(".")[:2], "255", "1"])
    try:
        for words in (
            ("link", "add", name, "type", "bridge"),
            ("address", "add", f"{address}/24", "dev", name),
            ("link", "set", name, "up"),
        ):
            run([ip, *words], seconds=10)
        yield name
    finally:
        run([ip, "link", "delete", name], seconds=10)
