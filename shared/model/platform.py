"""Platforms and their text form (containerd's platforms package: os[(osversion)]/arch[/variant])."""

import re
from dataclasses import dataclass

_OS = {"macos": "darwin"}
_ARCH = {
    "x86_64": ("amd64", ""),
    "x86-64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "i386": ("386", ""),
}
_PART = re.compile(r"[A-Za-z0-9_.-]+")
_OS_PART = re.compile(r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.-]*)((?:\+[A-Za-z0-9_.-]+)*)\))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """One os/architecture pair; empty strings where a part is not given."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    def normalized(self) -> "Platform":
        """Aliases resolved, and the variants that mean the default dropped (arm64/v8, amd64/v1) or filled (arm → v7)."""
        os = _OS.get(self.os.lower(), self.os.lower())
        arch = self.architecture.lower()
        variant = self.variant.lower()
        if arch in _ARCH:
            arch, default = _ARCH[arch]
            variant = variant or default
        if (arch, variant) in (("arm64", "v8"), ("arm64", "8"), ("amd64", "v1")):
            variant = ""
        if arch == "arm":
            variant = {"": "v7", "7": "v7", "6": "v6", "5": "v5", "8": "v8"}.get(variant, variant)
        return Platform(os=os, architecture=arch, variant=variant, os_version=self.os_version, os_features=self.os_features)


def format_platform(platform: Platform, *, full: bool = False) -> str:
    """`linux/arm64/v8`; with `full` the OS version and features too (`windows(10.0.17763)/amd64`), as result maps are keyed."""
    os = platform.os
    if full and (platform.os_version or platform.os_features):
        os += "(" + platform.os_version + "".join("+" + f for f in platform.os_features) + ")"
    return "/".join(p for p in (os, platform.architecture, platform.variant) if p)


def parse_platform(text: str) -> Platform:
    """The platform that `text` names, normalized. Raises ValueError naming the text."""
    parts = text.split("/")
    os_match = _OS_PART.fullmatch(parts[0])
    if len(parts) > 3 or os_match is None or not all(_PART.fullmatch(p) for p in parts[1:]):
        raise ValueError(f"{text[:100]!r} is an invalid platform specifier")
    if len(parts) == 1:
        return _from_single(parts[0])
    features = tuple(f for f in (os_match[3] or "").split("+") if f)
    platform = Platform(
        os=os_match[1],
        architecture=parts[1],
        variant=parts[2] if len(parts) == 3 else "",
        os_version=os_match[2] or "",
        os_features=features,
    )
    return platform.normalized()


def _from_single(part: str) -> Platform:
    if part.lower() in {"linux", "windows", "darwin", "freebsd", "macos"}:
        return Platform(os=part, architecture="amd64").normalized()
    known = {"amd64", "arm64", "arm", "386", "riscv64", "ppc64le", "ppc64", "s390x", "loong64", "mips64le", "mips64", *_ARCH}
    if part.lower() in known:
        return Platform(os="linux", architecture=part).normalized()
    raise ValueError(f"{part[:100]!r}: unknown operating system or architecture")
