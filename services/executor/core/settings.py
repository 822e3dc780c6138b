"""What of the configuration the runners of ops need."""

from __future__ import annotations

from dataclasses import dataclass, field

from services.executor.core.log_limit import LogLimits

__all__ = ["CdiSettings", "NetworkConfig", "StepSettings", "WarmMountSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkConfig:
    """Networks of containers (reference: buildkitd.toml [worker.oci], [dns]).

    `closed`: networks that steps on the bridge do not reach, nor the executor itself then, nor anything by IPv6; `attached` = all that it
    has an address in, `private` = all that the internet has no route to, `metadata` = where clouds tell a machine about itself.
    """

    mode: str = "auto"  # auto | host | cni | bridge
    cni_config: str = "/etc/buildkit/cni.json"
    cni_binaries: str = "/opt/cni/bin"
    cni_pool: int = 0
    bridge_name: str = "buildkit0"
    bridge_subnet: str = "10.10.0.0/16"
    closed: tuple[str, ...] = ()
    nameservers: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    search_domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmMountSettings:
    """Snapshots of cache mounts, by which they are warm on other executors (docs/adr/0055).

    `share`: make them, when there are other executors. `max_size` in bytes: of what a step has changed on disk, and of all blobs of a
    snapshot; what is larger stays where it is. `every`: seconds between two snapshots of one mount (locked ones have no pause).
    `wait`: seconds that a step waits at most for a snapshot. `depth`: layers of changes before a snapshot is made anew as one.
    """

    share: bool = True
    max_size: int = 4 << 30
    every: float = 5.0
    wait: float = 15.0
    depth: int = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class CdiSettings:
    """Devices of the machine for steps (buildkitd.toml [cdi]): folders of spec files, and devices or kinds that every build may use."""

    folders: tuple[str, ...] = ("/etc/cdi", "/var/run/cdi", "/etc/buildkit/cdi")
    auto_allowed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSettings:
    """How steps run. `runtime` = program of the OCI runtime, "" = found on PATH; `echo` copies their output to this process's log."""

    runtime: str = ""
    cgroup_parent: str = ""
    network: NetworkConfig = field(default_factory=NetworkConfig)
    limits: LogLimits = field(default_factory=LogLimits)
    echo: bool = False
    warm: WarmMountSettings = field(default_factory=WarmMountSettings)
    cdi: CdiSettings = field(default_factory=CdiSettings)
