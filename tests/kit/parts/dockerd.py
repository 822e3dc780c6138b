"""A Docker Engine (Debian's 20.10) without networking, for loading and running what was built."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.kit.clients import run
from tests.kit.parts.process import Part, accepts, program, running, tools_bin

HOW = "tests/tools/debian docker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Docker:
    """`host` is what DOCKER_HOST takes."""

    host: str
    part: Part

    def call(self, *words: str, seconds: float = 60) -> str:
        """What `docker WORDS` prints. Raises ClientFailed."""
        return run([program("docker", HOW), "--host", self.host, *words], seconds=seconds)


@contextmanager
def docker_engine(folder: Path) -> Iterator[Docker]:
    """All of its state is in `folder`; it starts a containerd of its own."""
    socket = folder / "docker.sock"
    argv = [program("dockerd", HOW), "--host", f"unix://{socket}", "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec")]
    argv += ["--pidfile", str(folder / "docker.pid"), "--bridge=none", "--iptables=false", "--ip-forward=false", "--ip-masq=false"]
    argv += ["--storage-driver=vfs", "--exec-opt=native.cgroupdriver=cgroupfs"]
    path = {"PATH": f"{tools_bin()}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    with running("dockerd", argv, folder=folder, ready=lambda: accepts(str(socket)), env=path, seconds=60, grace=30) as part:
        yield Docker(host=f"unix://{socket}", part=part)
