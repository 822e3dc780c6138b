"""What this machine can run: the native platform, its variants, and what binfmt_misc emulates (BuildKit util/archutil/detect.go)."""

import os
from pathlib import Path

from shared.model import Platform

_NATIVE = {"x86_64": ("amd64", ""), "aarch64": ("arm64", ""), "armv7l": ("arm", "v7"), "riscv64": ("riscv64", ""), "s390x": ("s390x", "")}
_NATIVE |= {"ppc64le": ("ppc64le", ""), "i686": ("386", "")}
_BINFMT = Path("/proc/sys/fs/binfmt_misc")
_EMULATED = {
    "qemu-aarch64": ("arm64", ""),
    "qemu-x86_64": ("amd64", ""),
    "qemu-riscv64": ("riscv64", ""),
    "qemu-ppc64le": ("ppc64le", ""),
    "qemu-s390x": ("s390x", ""),
    "qemu-i386": ("386", ""),
    "qemu-arm": ("arm", "v7"),
}
_COMPATIBLE = {"amd64": ("386",), "arm64": ("arm",)}
_V2 = {"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}
_V3 = _V2 | {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave"}
_V4 = _V3 | {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}


def supported_platforms() -> tuple[Platform, ...]:
    """The native one first."""
    machine = os.uname().machine
    native, variant = _NATIVE.get(machine, (machine, ""))
    found = [Platform(os="linux", architecture=native, variant=variant)]
    if native == "amd64":
        found += [Platform(os="linux", architecture="amd64", variant=v) for v in _amd64_variants()]
        found.append(Platform(os="linux", architecture="386"))
    if native == "arm64":
        found += [Platform(os="linux", architecture="arm", variant=v) for v in ("v7", "v6")]
    return (*found, *(p for p in emulated_platforms() if p not in found))


def emulated_platforms() -> tuple[Platform, ...]:
    """What binfmt_misc adds; an emulator for something that runs natively doesn't count."""
    own = _NATIVE.get(os.uname().machine, ("", ""))[0]
    return tuple(
        Platform(os="linux", architecture=architecture, variant=version)
        for name, (architecture, version) in _EMULATED.items()
        if architecture not in (own, *_COMPATIBLE.get(own, ())) and _enabled(_BINFMT / name)
    )


def _amd64_variants() -> list[str]:
    try:
        line = next(text for text in Path("/proc/cpuinfo").read_text().splitlines() if text.startswith("flags"))
    except (OSError, StopIteration):
        return []
    flags = set(line.split())
    return [name for name, needed in (("v2", _V2), ("v3", _V3), ("v4", _V4)) if needed <= flags]


def _enabled(entry: Path) -> bool:
    """Only with the F flag does emulation work inside another root."""
    try:
        text = entry.read_text()
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith("flags:")), "")
    return text.startswith("enabled") and "F" in flags
