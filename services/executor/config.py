"""Configuration of the executor service; the keys of buildkitd's [worker.oci] are mapped to it (services/daemon)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from shared.registry.hosts import RegistryHosts
from shared.wire.messages import GcRule


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsConfig:
    """What replaces parts of the host's resolv.conf in containers; empty = the host's."""

    nameservers: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    search_domains: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorConfig:
    """How this executor runs things.

    `root`: snapshots, bundles, metadata ("" = `executor` in the mesh's state folder). `slots`: ops at a time, 0 = as many as come
    (buildkitd's default for max-parallelism). `classes`: queues it pulls from. `platforms`: replaces detection ("" = detect).
    """

    root: str = ""
    slots: int = 0
    classes: tuple[str, ...] = ("default",)
    platforms: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)

    # snapshots and registries
    snapshotter: str = "auto"
    """`auto` | `overlayfs` | `native`."""
    registries: RegistryHosts = field(default_factory=RegistryHosts)
    publish: bool = False
    """Push finished layers to the blob store in the background, so that other executors can use them (a fleet wants it)."""
    gc_policy: tuple[GcRule, ...] = ()

    # containers
    binary: str = ""
    """The runtime; "" = buildkit-runc, runc or crun on PATH."""
    entitlements: tuple[str, ...] = ("device",)
    """What builds may be granted at all; checked again here."""
    cgroup_parent: str = ""
    apparmor_profile: str = ""
    selinux: bool = False
    rootless: bool = False
    no_process_sandbox: bool = False
    cdi_spec_dirs: tuple[str, ...] = ("/etc/cdi", "/var/run/cdi", "/etc/buildkit/cdi")
    cdi_disabled: bool = False
    cdi_auto_allowed: tuple[str, ...] = ()
    otel_socket: str = ""

    # network
    network: str = "auto"
    """`auto` | `bridge` | `cni` | `host`."""
    cni_config: str = "/etc/buildkit/cni.json"
    cni_binaries: str = "/opt/cni/bin"
    cni_pool: int = 0
    bridge_name: str = "buildkit0"
    bridge_subnet: str = "10.10.0.0/16"
    dns: DnsConfig = field(default_factory=DnsConfig)
    proxy_network: bool = False

    def folder(self, state: Path) -> Path:
        """Where everything of this executor lives."""
        return Path(self.root) if self.root else state / "executor"
