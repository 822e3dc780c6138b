"""What this machine can do, found out once."""

from __future__ import annotations

import os
import platform
from fcntl import ioctl
from pathlib import Path

from services.executor.core.spec import Host, insecure_devices

__all__ = ["look_at_host"]

# By bit number (capability.h).
_CAPABILITIES = """
    CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE NET_BROADCAST
    NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE
    SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM
    BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE
"""
_LOOP_CTL_GET_FREE = 0x4C82


def look_at_host() -> Host:
    """Blocking, a millisecond."""
    release = platform.release().split(".")
    status = Path("/proc/self/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    held = int(fields.get("CapEff", "0"), 16)
    return Host(
        machine=platform.machine(),
        kernel=(int(release[0]), int("".join(c for c in release[1] if c.isdigit()) or 0)),
        seccomp="Seccomp" in fields,
        cgroup_v2=os.path.exists("/proc/self/ns/cgroup") and os.path.exists("/sys/fs/cgroup/cgroup.subtree_control"),
        capabilities=tuple(f"CAP_{name}" for bit, name in enumerate(_CAPABILITIES.split()) if held >> bit & 1),
        devices=insecure_devices(_free_loop()),
    )


def _free_loop() -> int:
    try:
        with open("/dev/loop-control", "rb") as control:
            return ioctl(control, _LOOP_CTL_GET_FREE)
    except OSError:
        return 0
