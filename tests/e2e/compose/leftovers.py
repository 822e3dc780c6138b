"""What a fleet could leave behind on a machine."""

import os
from dataclasses import dataclass
from pathlib import Path

from tests.kit.parts.dockerd import Docker


@dataclass(frozen=True, slots=True, kw_only=True)
class Leftovers:
    """Names of things that exist now; `minus` what existed before."""

    mounts: frozenset[str]
    cgroups: frozenset[str]
    interfaces: frozenset[str]
    networks: frozenset[str]
    volumes: frozenset[str]
    containers: frozenset[str]

    @classmethod
    def seen(cls, docker: Docker) -> "Leftovers":
        """All that belongs to this engine, and what executors make: cgroups below /buildmesh."""
        root = docker.call("info", "--format", "{{.DockerRootDir}}").strip()
        mounts = (line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines())
        return cls(
            mounts=frozenset(mount for mount in mounts if mount.startswith(str(Path(root).parent))),
            cgroups=frozenset(_cgroups()),
            interfaces=frozenset(_bridges(docker)),
            networks=_names(docker, "network", "ls", "--quiet"),
            volumes=_names(docker, "volume", "ls", "--quiet"),
            containers=_names(docker, "ps", "--all", "--quiet"),
        )

    def minus(self, before: "Leftovers") -> dict[str, list[str]]:
        """What is more than before, by kind; {} = nothing."""
        pairs = {name: sorted(getattr(self, name) - getattr(before, name)) for name in self.__slots__}
        return {name: more for name, more in pairs.items() if more}


def _names(docker: Docker, *words: str) -> frozenset[str]:
    return frozenset(line for line in docker.call(*words).splitlines() if line and not line.startswith("WARNING"))


def _bridges(docker: Docker) -> list[str]:
    """Bridges are called after the network that they carry, so those of other engines are told apart."""
    return [f"br-{id}" for id in _names(docker, "network", "ls", "--quiet") if Path(f"/sys/class/net/br-{id}").exists()]


def _cgroups() -> list[str]:
    roots = [folder for pattern in ("buildmesh*", "*/buildmesh*") for folder in Path("/sys/fs/cgroup").glob(pattern) if folder.is_dir()]
    return [path for root in roots for path, _, _ in os.walk(root) if path != str(root)]
