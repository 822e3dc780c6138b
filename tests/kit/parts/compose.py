"""`docker compose` (Go tool) over a Docker Engine, and local stand-ins for the public images that deploy/compose names.

A stand-in has the name and tag of the public image, the same program in the same place, and the small tools that health checks use.
"""

import json
import os
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.kit.clients import run
from tests.kit.parts.dockerd import HOW, Docker
from tests.kit.parts.nats import nats_program
from tests.kit.parts.process import program

NOBODY: Final = 65534


@dataclass(frozen=True, slots=True, kw_only=True)
class Compose:
    """One project: a file of deploy/compose, unchanged. `env` are the variables that it knows."""

    docker: Docker
    file: Path
    work: Path
    env: Mapping[str, str] = field(default_factory=dict)

    def call(self, *words: str, seconds: float = 180) -> str:
        """What `docker compose -f FILE WORDS` prints. Raises ClientFailed."""
        argv = [program("docker", HOW), "compose", "--ansi=never", "-f", str(self.file), *words]
        return run(argv, env=self.environment, seconds=seconds)

    @property
    def environment(self) -> dict[str, str]:
        """The engine, and a configuration of its own with compose as the plugin that `docker` looks for."""
        plugins = self.work / "docker/cli-plugins"
        plugins.mkdir(parents=True, exist_ok=True)
        link = plugins / "docker-compose"
        if not link.exists():
            link.symlink_to(program("compose"))
        return {"DOCKER_HOST": self.docker.host, "DOCKER_CONFIG": str(plugins.parent), **self.env}

    def containers(self, service: str = "") -> list["Container"]:
        """Those that exist, by their number; with `service` only its own."""
        ids = self.call("ps", "--all", "--quiet", *([service] if service else [])).split()
        told = json.loads(self.docker.call("inspect", *ids)) if ids else []
        return sorted((Container(told=row) for row in told), key=lambda found: (found.service, found.number))


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What `docker inspect` says about one."""

    told: Mapping[str, Any]

    @property
    def id(self) -> str:
        return str(self.told["Id"])

    @property
    def service(self) -> str:
        return str(self.told["Config"]["Labels"]["com.docker.compose.service"])

    @property
    def number(self) -> int:
        return int(self.told["Config"]["Labels"]["com.docker.compose.container-number"])

    @property
    def health(self) -> str:
        """healthy, unhealthy, starting; "" when it has no health check."""
        return str(self.told["State"].get("Health", {}).get("Status", ""))

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return None if self.told["State"]["Running"] else int(self.told["State"]["ExitCode"])

    def address(self, network: str) -> str:
        """Its IP address in a network whose name ends so; the machine reaches it there."""
        networks: dict[str, Any] = self.told["NetworkSettings"]["Networks"]
        return next(str(row["IPAddress"]) for name, row in networks.items() if name.endswith(network))


@dataclass(frozen=True, slots=True, kw_only=True)
class StandIn:
    """`programs`: path in the image → program here, brought with its libraries. `folders`: path → owner."""

    image: str
    entrypoint: Sequence[str]
    programs: Mapping[str, str]
    folders: Mapping[str, int] = field(default_factory=dict)
    user: str = "0"


def stand_ins() -> list[StandIn]:
    """One for each public image of compose.yaml that can run here (Grafana cannot)."""
    return [
        StandIn(image="nats:2.15-alpine", entrypoint=["nats-server"], programs={"usr/local/bin/nats-server": nats_program()}),
        StandIn(
            image="minio/minio:RELEASE.2025-09-07T16-13-09Z",
            entrypoint=["minio"],
            programs={"usr/bin/minio": program("minio"), "usr/bin/curl": program("curl", "tests/tools/debian test")},
        ),
        StandIn(
            image="jaegertracing/all-in-one:1.62.0",
            entrypoint=["/go/bin/all-in-one-linux"],
            programs={"go/bin/all-in-one-linux": program("jaeger")},
            user="10001",
        ),
        StandIn(
            image="prom/prometheus:v3.5.0",
            entrypoint=["/bin/prometheus"],
            programs={"bin/prometheus": program("prometheus", "tests/tools/debian metrics")},
            folders={"prometheus": NOBODY},
            user=str(NOBODY),
        ),
    ]


def bring(docker: Docker, image: StandIn, work: Path) -> None:
    """Imports a stand-in into the engine under the public name."""
    work.mkdir(parents=True, exist_ok=True)
    tar = work / "root.tar"
    with tarfile.open(tar, "w") as root:
        _fill(root, image)
    changes = [f"ENTRYPOINT {json.dumps(list(image.entrypoint))}", f"USER {image.user}"]
    changes.append("ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    docker.call("import", *(f"--change={change}" for change in changes), str(tar), image.image)
    tar.unlink()


def _fill(root: tarfile.TarFile, image: StandIn) -> None:
    busybox = Path(program("busybox", "tests/tools/debian run")).resolve()
    root.add(busybox, "bin/busybox")
    for applet in ("sh", "wget", "cat", "ls"):
        _add(root, f"bin/{applet}", tarfile.SYMTYPE, link="busybox")
    _add(root, "tmp", tarfile.DIRTYPE, mode=0o1777)
    for folder, owner in image.folders.items():
        _add(root, folder, tarfile.DIRTYPE, owner=owner)
    for path, source in image.programs.items():
        root.add(Path(source).resolve(), path)
    for library in sorted({library for source in image.programs.values() for library in _libraries(Path(source).resolve())}):
        root.add(library.resolve(), str(library).lstrip("/"))


def _libraries(file: Path) -> list[Path]:
    """The shared libraries of a program, none for a static one."""
    done = subprocess.run(["ldd", str(file)], capture_output=True, text=True, timeout=20, check=False, env={**os.environ, "LC_ALL": "C"})
    words = [word for line in done.stdout.splitlines() for word in line.split()]
    return [Path(word) for word in words if word.startswith("/") and done.returncode == 0]


def _add(root: tarfile.TarFile, path: str, kind: bytes, *, mode: int = 0o755, owner: int = 0, link: str = "") -> None:
    member = tarfile.TarInfo(path)
    member.type, member.mode, member.uid, member.gid, member.linkname = kind, mode, owner, owner, link
    root.addfile(member)
