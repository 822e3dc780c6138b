"""A Docker Engine (Debian's 20.10): without networking, for loading and running what was built, or with networks, for a fleet."""

from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def docker_engine(folder: Path, *, networks: str = "") -> Iterator[Docker]:
    """All of its state is in `folder`; it starts a containerd of its own. `networks`: where its networks get their addresses (10.1.0.0/16).

    The machine's packet filter is left alone: containers reach each other and the machine, nothing else, and a published port is proxied.
    """
    socket = folder / "docker.sock"
    argv = [program("dockerd", HOW), "--host", f"unix://{socket}", "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")]
    argv += ["--pidfile", str(folder / "docker.pid"), "--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]
    argv += [f"--storage-driver={'overlay2' if networks else 'vfs'}", "--exec-opt=native.cgroupdriver=cgroupfs"]
    if networks:
        argv += ["--default-address-pool", f"base={networks},size=24"]
    path = {"PATH": f"{tools_bin()}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    with running("dockerd", argv, folder=folder, ready=lambda: accepts(str(socket)), env=path, seconds=60, grace=30) as part:
        yield Docker(host=f"unix://{socket}", part=part)
