"""Durations, sizes and the default GC policy (semantics: cmd/buildkitd/config/gcpolicy.go of BuildKit)."""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from shared.errors import InvalidInput
from shared.wire.messages import GcRule

SECOND = 10**9
HOUR = 3600 * SECOND
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": SECOND, "m": 60 * SECOND, "h": HOUR}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgtp]?)i?b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}


def parse_duration(value: Any, path: str) -> int:
    """A Go duration (`"48h"`) or whole seconds, as ns. Raises InvalidInput naming the key."""
    text = str(value)
    if type(value) in (int, str) and re.fullmatch(r"-?[0-9]+", text):
        return int(text) * SECOND
    if text == "":
        return 0
    if type(value) is str:
        sign = -1 if text.startswith("-") else 1
        body = text.lstrip("+-")
        parts = _DURATION.findall(body)
        if parts and "".join(n + u for n, u in parts) == body:
            return sign * sum(int(float(n) * _UNITS[u]) for n, u in parts)
    raise InvalidInput(f"{path}: invalid duration {text}")


@dataclass(frozen=True, slots=True)
class Disk:
    """The file system of the state folder, in bytes; 0 = unknown."""

    total: int = 0


def disk_of(root: Path) -> Disk:
    """The file system that `root` is or will be on."""
    there = next((p for p in (root, *root.parents) if p.exists()), Path("/"))
    stat = os.statvfs(there)
    return Disk(stat.f_blocks * stat.f_frsize)


def parse_space(value: Any, path: str, disk: Disk) -> int:
    """Bytes, a size in binary units (`"512MB"` = 512·2^20), or `"N%"` of the disk. Raises InvalidInput naming the key."""
    text = str(value)
    if type(value) is int:
        return value
    if text == "":
        return 0
    if type(value) is str and re.fullmatch(r"[0-9]+%", text):
        return percent(int(text[:-1]), disk)
    found = _SIZE.fullmatch(text)
    if type(value) is not str or found is None:
        raise InvalidInput(f"{path}: invalid disk space {text}")
    return int(float(found[1]) * 1024 ** _POWERS[found[2].lower()])


def percent(part: int, disk: Disk) -> int:
    """Rounded as BuildKit does: whole GiB up, times 1e9; 2e9 when the disk is unknown."""
    if not part:
        return 0
    if not disk.total:
        return 2 * 10**9
    return (disk.total * part // 100 // (1 << 30) + 1) * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Caps:
    """The three sizes of a policy; all 0 = not configured."""

    reserved: int = 0
    max_used: int = 0
    min_free: int = 0


def default_caps(disk: Disk) -> Caps:
    """10 % but at most 10 GB reserved, 80 % but at most 100 GB used, 20 % kept free."""
    return Caps(reserved=min(percent(10, disk), 10 * 10**9), max_used=min(percent(80, disk), 100 * 10**9), min_free=percent(20, disk))


def default_policy(caps: Caps, disk: Disk) -> tuple[GcRule, ...]:
    """The four rules of a daemon without configured ones. A single cap given replaces all three defaults."""
    if caps == Caps():
        caps = default_caps(disk)
    capped = GcRule(reserved_space=caps.reserved, max_used_space=caps.max_used, min_free_space=caps.min_free)
    return (
        GcRule(
            filters=("type==source.local", "type==exec.cachemount", "type==source.git.checkout"),
            keep_duration=48 * HOUR,
            max_used_space=512 * 10**6,
        ),
        replace(capped, keep_duration=60 * 24 * HOUR),
        capped,
        replace(capped, all=True),
    )


def parse_keep_storage(text: str) -> Caps:
    """`Reserved[,Free[,Maximum]]` in MB of 1e6 bytes (the flag --oci-worker-gc-keepstorage)."""
    parts = text.split(",")
    if len(parts) > 3 or not all(re.fullmatch(r"\s*[0-9]*\s*", p) for p in parts):
        raise InvalidInput(f"invalid gc keepstorage {text!r}: want Reserved[,Free[,Maximum]] in MB")
    reserved, free, maximum = ([int(p or 0) * 10**6 for p in parts] + [0, 0])[:3]
    return Caps(reserved=reserved, min_free=free, max_used=maximum)
