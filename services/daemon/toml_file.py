"""The keys of buildkitd.toml (reference: cmd/buildkitd/config/config.go). Sizes and durations stay as written until plan.py reads them."""

# ruff: noqa: RUF009 — `_key` and `_table` make dataclass fields

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shared.run import settings


def _key(name: str, default: Any) -> Any:
    """A field whose key in the file is spelled `name`."""
    if isinstance(default, type):
        return dataclasses.field(default_factory=default, metadata={"toml": name})
    return dataclasses.field(default=default, metadata={"toml": name})


def _table(default: type) -> Any:
    return dataclasses.field(default_factory=default)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTable:
    format: str = ""
    level: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsTable:
    cert: str = ""
    key: str = ""
    ca: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcTable:
    address: tuple[str, ...] = ()
    debug_address: str = _key("debugAddress", "")
    uid: int | None = None
    gid: int | None = None
    security_descriptor: str = _key("securityDescriptor", "")
    tls: TlsTable = _table(TlsTable)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtelTable:
    socket_path: str = _key("socketPath", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class CdiTable:
    disabled: bool | None = None
    spec_dirs: tuple[str, ...] = _key("specDirs", ())
    auto_allowed: tuple[str, ...] = _key("autoAllowed", ())


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsTable:
    nameservers: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    search_domains: tuple[str, ...] = _key("searchDomains", ())


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryTable:
    max_age: Any = _key("maxAge", 0)
    max_entries: int = _key("maxEntries", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerfileTable:
    enabled: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayTable:
    enabled: bool | None = None
    allowed_repositories: tuple[str, ...] = _key("allowedRepositories", ())


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendTable:
    dockerfile: DockerfileTable = _key("dockerfile.v0", DockerfileTable)
    gateway: GatewayTable = _key("gateway.v0", GatewayTable)


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemTable:
    platforms_cache_max_age: Any = _key("platformsCacheMaxAge", "20s")
    max_registry_concurrency: int = _key("maxRegistryConcurrency", 4)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyPairTable:
    key: str = ""
    cert: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryTable:
    mirrors: tuple[str, ...] = ()
    http: bool | None = None
    insecure: bool | None = None
    ca: tuple[str, ...] = ()
    keypair: tuple[KeyPairTable, ...] = ()
    tlsconfigdir: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GcPolicyTable:
    all: bool = False
    filters: tuple[str, ...] = ()
    keep_duration: Any = _key("keepDuration", 0)
    keep_bytes: Any = _key("keepBytes", 0)
    reserved_space: Any = _key("reservedSpace", 0)
    max_used_space: Any = _key("maxUsedSpace", 0)
    min_free_space: Any = _key("minFreeSpace", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OciTable:
    enabled: bool | None = None
    labels: Mapping[str, str] = _table(dict)
    platforms: tuple[str, ...] = ()
    snapshotter: str = ""
    rootless: bool = False
    no_process_sandbox: bool = _key("noProcessSandbox", False)
    gc: bool | None = None
    gc_keep_storage: Any = _key("gckeepstorage", 0)
    reserved_space: Any = _key("reservedSpace", 0)
    max_used_space: Any = _key("maxUsedSpace", 0)
    min_free_space: Any = _key("minFreeSpace", 0)
    gc_policy: tuple[GcPolicyTable, ...] = _key("gcpolicy", ())
    network_mode: str = _key("networkMode", "")
    cni_config_path: str = _key("cniConfigPath", "")
    cni_binary_path: str = _key("cniBinaryPath", "")
    cni_pool_size: int = _key("cniPoolSize", 0)
    bridge_name: str = _key("bridgeName", "")
    bridge_subnet: str = _key("bridgeSubnet", "")
    user_remap_unsupported: str = _key("userRemapUnsupported", "")
    binary: str = ""
    proxy_snapshotter_path: str = _key("proxySnapshotterPath", "")
    default_cgroup_parent: str = _key("defaultCgroupParent", "")
    stargz_snapshotter: Any = _key("stargzSnapshotter", dict)
    apparmor_profile: str = _key("apparmor-profile", "")
    selinux: bool = False
    max_parallelism: int = _key("max-parallelism", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeTable:
    name: str = ""
    path: str = ""
    options: Any = _table(dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerdTable:
    """Read so that a file written for buildkitd is accepted; this daemon has no containerd worker."""

    enabled: bool | None = None
    address: str = ""
    labels: Mapping[str, str] = _table(dict)
    platforms: tuple[str, ...] = ()
    namespace: str = ""
    runtime: RuntimeTable = _table(RuntimeTable)
    gc: bool | None = None
    gc_keep_storage: Any = _key("gckeepstorage", 0)
    reserved_space: Any = _key("reservedSpace", 0)
    max_used_space: Any = _key("maxUsedSpace", 0)
    min_free_space: Any = _key("minFreeSpace", 0)
    gc_policy: tuple[GcPolicyTable, ...] = _key("gcpolicy", ())
    network_mode: str = _key("networkMode", "")
    cni_config_path: str = _key("cniConfigPath", "")
    cni_binary_path: str = _key("cniBinaryPath", "")
    cni_pool_size: int = _key("cniPoolSize", 0)
    bridge_name: str = _key("bridgeName", "")
    bridge_subnet: str = _key("bridgeSubnet", "")
    snapshotter: str = ""
    apparmor_profile: str = _key("apparmor-profile", "")
    selinux: bool = False
    max_parallelism: int = _key("max-parallelism", 0)
    default_cgroup_parent: str = _key("defaultCgroupParent", "")
    rootless: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerTable:
    oci: OciTable = _table(OciTable)
    containerd: ContainerdTable = _table(ContainerdTable)


@dataclass(frozen=True, slots=True, kw_only=True)
class GhaSignTable:
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GhaVerifyTable:
    required: bool = False
    policy: Any = _table(dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class GhaTable:
    sign: GhaSignTable = _table(GhaSignTable)
    verify: GhaVerifyTable = _table(GhaVerifyTable)


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheTable:
    gha: GhaTable = _table(GhaTable)


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonFile:
    """The whole file."""

    debug: bool = False
    trace: bool = False
    root: str = ""
    insecure_entitlements: tuple[str, ...] = _key("insecure-entitlements", ())
    proxy_network: bool = _key("proxyNetwork", False)
    provenance_env_dir: str = _key("provenanceEnvDir", "/etc/buildkit/provenance.d")
    log: LogTable = _table(LogTable)
    grpc: GrpcTable = _table(GrpcTable)
    otel: OtelTable = _table(OtelTable)
    cdi: CdiTable = _table(CdiTable)
    dns: DnsTable = _table(DnsTable)
    history: HistoryTable | None = None
    frontend: FrontendTable = _table(FrontendTable)
    system: SystemTable = _table(SystemTable)
    cache: CacheTable = _table(CacheTable)
    registry: Mapping[str, RegistryTable] = _table(dict)
    worker: WorkerTable = _table(WorkerTable)


def read_file(path: Path) -> DaemonFile:
    """The file; one that doesn't exist is an empty one. Raises InvalidInput for other faults, unknown keys included."""
    if not path.exists():
        return DaemonFile()
    return settings.build(DaemonFile, settings.read_toml(path))
