"""A step's process as an OCI runtime spec (runtime-spec config.md; the defaults are BuildKit's, reference 06 §7.2).

Pure: everything found out on the machine (user, mounts, capabilities of the daemon, kernel) comes in as arguments.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from services.executor.core.seccomp import default_profile
from shared.llb import Meta, SecurityMode
from shared.llb.definition import Resources

__all__ = [
    "DEFAULT_PATH",
    "Host",
    "ProcessUser",
    "SpecMount",
    "Surroundings",
    "cgroups_path",
    "container_env",
    "default_mounts",
    "default_path",
    "insecure_devices",
    "runtime_spec",
    "with_default",
    "with_mounts",
]

OCI_VERSION = "1.0.2"
DEFAULT_HOSTNAME = "buildkitsandbox"
WINDOWS_PATH = "c:\\Windows\\System32;c:\\Windows;C:\\Windows\\System32\\WindowsPowerShell\\v1.0"
DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_CAPABILITIES = "CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE"
_MASKED = (
    "/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
    "/proc/sched_debug", "/sys/firmware", "/sys/devices/virtual/powercap", "/proc/scsi",
)  # fmt: skip
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What the machine can do. `capabilities` are the daemon's own (given to insecure steps); `loops` = first free loop number."""

    machine: str
    kernel: tuple[int, int]
    seccomp: bool = True
    cgroup_v2: bool = False
    capabilities: tuple[str, ...] = ()
    devices: tuple[dict[str, Any], ...] = ()  # for insecure steps: spec entries of kmsg, fuse, loop…


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUser:
    """Ids of the process; `groups` always contains the primary one."""

    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = (0,)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecMount:
    """One entry of `mounts`."""

    destination: str
    type: str
    source: str
    options: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        return {"destination": self.destination, "type": self.type, "source": self.source, "options": list(self.options)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Where one container lives: its bundle's files, network namespace ("" = a new one without links, None = the host's)."""

    id: str
    root: str
    readonly_root: bool
    hosts: str
    resolv_conf: str
    netns: str | None
    mounts: tuple[SpecMount, ...] = ()
    cgroup_parent: str = ""
    apparmor: str = ""
    terminal: bool = False
    env: tuple[str, ...] = ()


def container_env(meta: Meta, secrets: Sequence[str] = ()) -> tuple[str, ...]:
    """The environment: as given, then proxies in both cases, then a default PATH, then secrets (ops/exec.go)."""
    env = list(meta.env)
    if (proxy := meta.proxy_env) is not None:
        pairs = (("http", proxy.http), ("https", proxy.https), ("ftp", proxy.ftp), ("no", proxy.no), ("all", proxy.all))
        env += [f"{name}={value}" for key, value in pairs if value for name in (f"{key.upper()}_PROXY", f"{key}_proxy")]
    return (*with_default(env, "PATH", DEFAULT_PATH), *secrets)


def with_default(env: Sequence[str], name: str, value: str) -> tuple[str, ...]:
    """The environment, with this variable unless it has it."""
    return tuple(env) if any(entry.startswith(f"{name}=") for entry in env) else (*env, f"{name}={value}")


def default_path(system: str) -> str:
    """PATH of a system's containers (util/system/path.go)."""
    return WINDOWS_PATH if system == "windows" else DEFAULT_PATH


def default_mounts(hosts: str, resolv_conf: str, *, insecure: bool = False) -> tuple[SpecMount, ...]:
    """What every container has below /proc, /dev and /sys, and its two generated files. No /run: what a step writes there is kept."""
    write = "rw" if insecure else "ro"
    safe = ("nosuid", "noexec", "nodev")
    return (
        SpecMount(destination="/proc", type="proc", source="proc", options=safe),
        SpecMount(destination="/dev", type="tmpfs", source="tmpfs", options=("nosuid", "strictatime", "mode=755", "size=65536k")),
        SpecMount(
            destination="/dev/pts", type="devpts", source="devpts",
            options=("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        ),
        SpecMount(destination="/dev/shm", type="tmpfs", source="shm", options=(*safe, "mode=1777", "size=65536k")),
        SpecMount(destination="/dev/mqueue", type="mqueue", source="mqueue", options=safe),
        SpecMount(destination="/sys", type="sysfs", source="sysfs", options=(*safe, write)),
        SpecMount(destination="/etc/resolv.conf", type="bind", source=resolv_conf, options=(*safe, "rbind", "ro")),
        SpecMount(destination="/etc/hosts", type="bind", source=hosts, options=(*safe, "rbind", "ro")),
        SpecMount(destination="/sys/fs/cgroup", type="cgroup", source="cgroup", options=(write, *safe)),
    )  # fmt: skip


def with_mounts(base: Iterable[SpecMount], more: Iterable[SpecMount]) -> tuple[SpecMount, ...]:
    """Both lists; of equal destinations the later one takes the place of the earlier one (that is how a step gets its own /dev/shm)."""
    merged: dict[str, SpecMount] = {}
    for mount in (*base, *more):
        merged[mount.destination] = mount
    return tuple(merged.values())


def runtime_spec(
    meta: Meta,
    around: Surroundings,
    host: Host,
    *,
    user: ProcessUser,
    security: SecurityMode = SecurityMode.SANDBOX,
    resources: Resources | None = None,
) -> dict[str, Any]:
    """`config.json` of the bundle."""
    insecure = security is SecurityMode.INSECURE
    mounts = with_mounts(default_mounts(around.hosts, around.resolv_conf, insecure=insecure), around.mounts)
    return {
        "ociVersion": OCI_VERSION,
        "process": _process(meta, around, user, _capabilities(host, insecure)),
        "root": {"path": around.root, "readonly": around.readonly_root} if around.readonly_root else {"path": around.root},
        "hostname": meta.hostname or DEFAULT_HOSTNAME,
        "mounts": [mount.json() for mount in mounts],
        "linux": _linux(meta, around, host, insecure, resources),
    }


def _capabilities(host: Host, insecure: bool) -> dict[str, list[str]]:
    if insecure:
        sets = ("bounding", "effective", "inheritable", "permitted", "ambient")
        return {name: list(host.capabilities) for name in sets}
    names = [f"CAP_{name}" for name in _CAPABILITIES.split()]
    return dict.fromkeys(("bounding", "effective", "permitted"), names)


def _process(meta: Meta, around: Surroundings, user: ProcessUser, capabilities: dict[str, list[str]]) -> dict[str, Any]:
    process: dict[str, Any] = {
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "args": list(meta.args),
        "env": list(around.env),
        "cwd": meta.cwd or "/",
        "capabilities": capabilities,
        "noNewPrivileges": False,
    }
    if around.terminal:
        process["terminal"] = True
    if meta.ulimits:
        limits = [{"type": f"RLIMIT_{u.name.upper()}", "hard": u.hard % 2**64, "soft": u.soft % 2**64} for u in meta.ulimits]
        process["rlimits"] = limits
    if around.apparmor:
        process["apparmorProfile"] = around.apparmor
    return process


def _linux(meta: Meta, around: Surroundings, host: Host, insecure: bool, resources: Resources | None) -> dict[str, Any]:
    linux: dict[str, Any] = {
        "cgroupsPath": cgroups_path(meta.cgroup_parent or around.cgroup_parent, around.id),
        "namespaces": _namespaces(around.netns, host.cgroup_v2),
        "resources": _resources(resources, insecure),
    }
    if insecure:
        linux["devices"] = list(host.devices)
        return linux
    linux["maskedPaths"] = list(_MASKED)
    linux["readonlyPaths"] = list(_READONLY)
    if host.seccomp:
        names = {f"CAP_{name}" for name in _CAPABILITIES.split()}
        linux["seccomp"] = default_profile(names, machine=host.machine, kernel=host.kernel)
    return linux


def _namespaces(netns: str | None, cgroup_v2: bool) -> list[dict[str, str]]:
    spaces = [{"type": kind} for kind in ("pid", "ipc", "uts", "mount")]
    if netns is not None:
        spaces.append({"type": "network", "path": netns} if netns else {"type": "network"})
    if cgroup_v2:
        spaces.append({"type": "cgroup"})
    return spaces


def cgroups_path(parent: str, id: str) -> str:
    """Where the container's cgroup is; a parent such as `x.slice:y:` is systemd's notation (executor/oci/spec.go)."""
    if ".slice" in parent and parent.endswith(":"):
        return parent + id
    parts = [part for part in parent.split("/") if part not in ("", ".", "..")]
    return "/" + "/".join([*parts, "buildkit", id])


def _resources(resources: Resources | None, insecure: bool) -> dict[str, Any]:
    rules = [{"allow": True, "type": kind, "access": "rwm"} for kind in "cb"] if insecure else [{"allow": False, "access": "rwm"}]
    found: dict[str, Any] = {"devices": rules}
    if resources is None:
        return found
    memory = {"limit": resources.memory, "swap": resources.memory_swap}
    cpu = {
        "shares": resources.cpu_shares, "quota": resources.cpu_quota, "period": resources.cpu_period,
        "cpus": resources.cpuset_cpus, "mems": resources.cpuset_mems,
    }  # fmt: skip
    for name, values in (("memory", memory), ("cpu", cpu)):
        if set_ones := {key: value for key, value in values.items() if value}:
            found[name] = set_ones
    return found


def insecure_devices(free_loop: int) -> tuple[dict[str, Any], ...]:
    """Device nodes of a step with all privileges; loop devices up to seven beyond the first free one (util/entitlements/security)."""
    named = (("kmsg", 1, 11), ("cuse", 10, 203), ("fuse", 10, 229), ("kvm", 10, 232), ("net/tun", 10, 200), ("loop-control", 10, 237))
    nodes = [{"path": f"/dev/{name}", "type": "c", "major": major, "minor": minor} for name, major, minor in named]
    loops = [{"path": f"/dev/loop{number}", "type": "b", "major": 7, "minor": number} for number in range(free_loop + 8)]
    return (*nodes, *loops)
