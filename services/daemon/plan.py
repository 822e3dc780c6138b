"""Command line and file → the configuration of the six services. The command line wins; lists it gives replace the file's."""

import argparse
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services.all_in_one import AllConfig
from services.cachestore.config import CachestoreConfig
from services.daemon.amounts import SECOND, Caps, Disk, default_policy, disk_of, parse_duration, parse_keep_storage, parse_space
from services.daemon.toml_file import DaemonFile, GcPolicyTable, OciTable, read_file
from services.executor.config import CdiSettings, ExecutorConfig, NetworkConfig
from services.exporter.config import ExporterConfig
from services.frontend.config import FrontendConfig
from services.gateway.config import GatewayConfig
from services.solver.config import SolverConfig
from shared.errors import InvalidInput
from shared.model import Platform, parse_platform
from shared.registry.hosts import HostConfig, RegistryHosts
from shared.run.backends import MeshConfig
from shared.telemetry import LogFormat
from shared.wire.messages import GcRule

ENTITLEMENTS = ("network.host", "security.insecure", "device")
DRAIN_SECONDS = 600.0


@dataclass(frozen=True, slots=True)
class Defaults:
    """Paths that depend on who runs it (util/appdefaults)."""

    config: Path
    root: Path
    address: str
    otel_socket: str


def defaults(environment: Mapping[str, str], *, rootless: bool) -> Defaults:
    """System paths, or the user's XDG ones."""
    if not rootless:
        return Defaults(
            Path("/etc/buildkit/buildkitd.toml"),
            Path("/var/lib/buildkit"),
            "unix:///run/buildkit/buildkitd.sock",
            "/run/buildkit/otel-grpc.sock",
        )
    home = Path(environment.get("HOME", "/"))
    runtime = environment.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}"
    return Defaults(
        Path(environment.get("XDG_CONFIG_HOME") or home / ".config") / "buildkit/buildkitd.toml",
        Path(environment.get("XDG_DATA_HOME") or home / ".local/share") / "buildkit",
        f"unix://{runtime}/buildkit/buildkitd.sock",
        f"{runtime}/buildkit/otel-grpc.sock",
    )


def make_plan(flags: argparse.Namespace, environment: Mapping[str, str], *, rootless: bool) -> AllConfig:
    """Everything the six services need. Raises InvalidInput in buildkitd's words where it has some."""
    paths = defaults(environment, rootless=rootless)
    file = read_file(Path(flags.config) if flags.config else paths.config)
    if flags.proxy_network or file.proxy_network:
        raise InvalidInput("the proxy network is not supported by this server yet")
    root = Path(flags.root or file.root or paths.root).absolute()
    granted = _entitlements(flags, file)
    registries = _registries(file)
    return AllConfig(
        mesh=_mesh(flags, file, root),
        gateway=_gateway(flags, file, paths, granted),
        frontend=FrontendConfig(allowed_images=file.frontend.gateway.allowed_repositories),
        solver=SolverConfig(entitlements=granted, provenance_env=_provenance_env(Path(file.provenance_env_dir))),
        executor=_executor(flags, file, root, granted, registries, environment),
        exporter=ExporterConfig(registries=registries),
        cachestore=CachestoreConfig(),
    )


def _mesh(flags: argparse.Namespace, file: DaemonFile, root: Path) -> MeshConfig:
    debug = flags.debug or flags.trace or file.debug or file.trace
    level = flags.log_level or ("debug" if debug else "") or file.log.level or "info"
    format_ = flags.log_format or file.log.format or "text"
    if format_ not in ("text", "json"):
        raise InvalidInput(f"unsupported log type {format_!r}")
    return MeshConfig(
        state=root,
        http=_debug_address(flags.debugaddr or file.grpc.debug_address),
        log_level=level,
        log_format=LogFormat(format_),
        drain_seconds=DRAIN_SECONDS,
    )


def _provenance_env(folder: Path) -> str:
    """All `*.json` of the folder merged in the order of their names, as JSON. Raises InvalidInput for what is no object (cmd/buildkitd)."""
    merged: dict[str, Any] = {}
    for path in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            found = json.loads(path.read_bytes())
        except ValueError as error:
            raise InvalidInput(f"failed to parse provenance env file {path.name}: {error}") from None
        if not isinstance(found, dict):
            raise InvalidInput(f"failed to parse provenance env file {path.name}: not an object")
        merged |= found
    return json.dumps(merged) if merged else ""


def _debug_address(address: str) -> str:
    if not address or address.startswith(("unix://", "tcp://")):
        return address
    if "://" in address:
        raise InvalidInput(f"debug address {address} is not supported")
    return f"tcp://{address}"


def _entitlements(flags: argparse.Namespace, file: DaemonFile) -> tuple[str, ...]:
    names = list(flags.allow_insecure_entitlement or file.insecure_entitlements)
    for name in names:
        if name not in ENTITLEMENTS:
            raise InvalidInput(f"invalid entitlement : {name}")
    if not (flags.cdi_disabled or file.cdi.disabled):
        names.append("device")
    return tuple(dict.fromkeys(names))


def _gateway(flags: argparse.Namespace, file: DaemonFile, paths: Defaults, granted: tuple[str, ...]) -> GatewayConfig:
    tls = file.grpc.tls
    cert, key, ca = flags.tlscert or tls.cert, flags.tlskey or tls.key, flags.tlscacert or tls.ca
    if bool(cert) != bool(key):
        raise InvalidInput("you must specify key and cert file if one is specified")
    addresses = flags.addr or file.grpc.address or (paths.address,)
    for address in addresses:
        if "://" not in address:
            raise InvalidInput(f"address {address} does not contain proto, you meant unix://{address} ?")
    history = file.history
    max_age = 48 * 3600 * SECOND if history is None else parse_duration(history.max_age, "history.maxAge")
    return GatewayConfig(
        addresses=tuple(addresses),
        group=flags.group or ("" if file.grpc.gid is None else str(file.grpc.gid)),
        tls_cert=cert,
        tls_key=key,
        tls_ca=ca,
        entitlements=granted,
        history_max_entries=50 if history is None else history.max_entries,
        history_max_age=max_age / SECOND,
    )


def _registries(file: DaemonFile) -> RegistryHosts:
    return RegistryHosts(
        configs={
            host: HostConfig(
                mirrors=table.mirrors,
                http=table.http,
                insecure=table.insecure,
                ca=table.ca,
                keypairs=tuple((pair.key, pair.cert) for pair in table.keypair),
                tls_dirs=table.tlsconfigdir,
            )
            for host, table in file.registry.items()
        }
    )


def _executor(
    flags: argparse.Namespace,
    file: DaemonFile,
    root: Path,
    granted: tuple[str, ...],
    registries: RegistryHosts,
    environment: Mapping[str, str],
) -> ExecutorConfig:
    oci = file.worker.oci
    enabled = flags.oci_worker if flags.oci_worker is not None else oci.enabled
    if enabled in (False, "false", "0"):
        raise InvalidInput("no worker found, rebuild the buildkit daemon?")
    rootless = bool(flags.oci_worker_rootless or flags.rootless or oci.rootless)
    no_sandbox = bool(flags.oci_worker_no_process_sandbox or oci.no_process_sandbox)
    if no_sandbox and not rootless:
        raise InvalidInput("can't enable NoProcessSandbox without Rootless")
    return ExecutorConfig(
        state=root / "executor",
        snapshotter=flags.oci_worker_snapshotter or oci.snapshotter or "auto",
        runtime=flags.oci_worker_binary or oci.binary,
        max_parallelism=int(flags.oci_max_parallelism or oci.max_parallelism or 0),
        platforms=tuple(_platform(text) for text in _words(flags.oci_worker_platform) or oci.platforms),
        labels=tuple({**oci.labels, **_pairs(flags.oci_worker_labels)}.items()),
        entitlements=frozenset(granted),
        network=_network(flags, file, environment),
        cgroup_parent=oci.default_cgroup_parent,
        cdi=_cdi(flags, file),
        registries=registries,
        gc_policy=gc_policy(flags, oci, disk_of(root)),
        debug_output=environment.get("BUILDKIT_DEBUG_EXEC_OUTPUT", "") not in ("", "0", "false"),
        log_size=_limit(environment, "BUILDKIT_STEP_LOG_MAX_SIZE", ExecutorConfig().log_size),
        log_speed=_limit(environment, "BUILDKIT_STEP_LOG_MAX_SPEED", ExecutorConfig().log_speed),
    )


def _cdi(flags: argparse.Namespace, file: DaemonFile) -> CdiSettings:
    if flags.cdi_disabled or file.cdi.disabled:
        return CdiSettings(folders=())
    folders = tuple(flags.cdi_spec_dir or file.cdi.spec_dirs) or CdiSettings().folders
    return CdiSettings(folders=folders, auto_allowed=file.cdi.auto_allowed)


def _limit(environment: Mapping[str, str], name: str, usual: int) -> int:
    """Bytes, -1 = no limit; what is no number counts as not set, as in BuildKit."""
    try:
        return max(-1, int(environment.get(name, "")))
    except ValueError:
        return usual


def _platform(text: str) -> Platform:
    try:
        return parse_platform(text)
    except ValueError as error:
        raise InvalidInput(str(error)) from None


def _network(flags: argparse.Namespace, file: DaemonFile, environment: Mapping[str, str]) -> NetworkConfig:
    oci, usual = file.worker.oci, NetworkConfig()
    mode = flags.oci_worker_net or oci.network_mode or usual.mode
    if mode not in ("auto", "bridge", "cni", "host"):
        raise InvalidInput(f'invalid network mode: "{mode}"')
    if mode == "auto" and environment.get("BUILDKIT_NETWORK_BRIDGE_AUTO", "").lower() in ("1", "t", "true"):
        mode = "bridge"
    return NetworkConfig(
        mode=mode,
        cni_config=flags.oci_cni_config_path or oci.cni_config_path or usual.cni_config,
        cni_binaries=flags.oci_cni_binary_dir or oci.cni_binary_path or usual.cni_binaries,
        cni_pool=int(flags.oci_cni_pool_size or oci.cni_pool_size or 0),
        bridge_name=oci.bridge_name or usual.bridge_name,
        bridge_subnet=oci.bridge_subnet or usual.bridge_subnet,
        nameservers=file.dns.nameservers,
        dns_options=file.dns.options,
        search_domains=file.dns.search_domains,
    )


def _words(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word for text in texts for word in text.split(",") if word)


def _pairs(texts: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in _words(texts):
        key, found, value = text.partition("=")
        if not found:
            raise InvalidInput(f"invalid label {text!r}: want key=value")
        pairs[key] = value
    return pairs


def gc_policy(flags: argparse.Namespace, oci: OciTable, disk: Disk) -> tuple[GcRule, ...]:
    """The worker's rules; none at all when GC is off."""
    enabled = flags.oci_worker_gc if flags.oci_worker_gc is not None else oci.gc
    if enabled is False:
        return ()
    if oci.gc_policy:
        return tuple(_rule(table, i, disk) for i, table in enumerate(oci.gc_policy))
    where = "worker.oci"
    caps = Caps(
        reserved=parse_space(oci.reserved_space, f"{where}.reservedSpace", disk),
        max_used=parse_space(oci.max_used_space, f"{where}.maxUsedSpace", disk),
        min_free=parse_space(oci.min_free_space, f"{where}.minFreeSpace", disk),
    )
    if caps == Caps():
        caps = Caps(reserved=parse_space(oci.gc_keep_storage, f"{where}.gckeepstorage", disk))
    if flags.oci_worker_gc_keepstorage:
        caps = parse_keep_storage(flags.oci_worker_gc_keepstorage)
    return default_policy(caps, disk)


def _rule(table: GcPolicyTable, index: int, disk: Disk) -> GcRule:
    where = f"worker.oci.gcpolicy[{index}]"
    reserved = parse_space(table.reserved_space, f"{where}.reservedSpace", disk)
    return GcRule(
        all=table.all,
        filters=table.filters,
        keep_duration=parse_duration(table.keep_duration, f"{where}.keepDuration"),
        reserved_space=reserved or parse_space(table.keep_bytes, f"{where}.keepBytes", disk),
        max_used_space=parse_space(table.max_used_space, f"{where}.maxUsedSpace", disk),
        min_free_space=parse_space(table.min_free_space, f"{where}.minFreeSpace", disk),
    )
