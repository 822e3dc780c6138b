"""Platforms and their text form (containerd's platforms package: os[(osversion[+feature…])]/arch[/variant])."""

import re
from dataclasses import dataclass, replace
from urllib.parse import unquote

HOST_OS = "linux"
HOST_ARCHITECTURE = "amd64"
"""What a specifier means that names only one of the two."""

_PART = re.compile(r"[A-Za-z0-9_.-]+")
_OS_PART = re.compile(r"([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?")
_OS_PATTERN = r"^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.%-]*)((?:\+[A-Za-z0-9_.%-]+)*)\))?$"
_PART_PATTERN = r"^[A-Za-z0-9_.-]+$"
_ENCODED = {"%": "%25", "+": "%2B", "(": "%28", ")": "%29", "/": "%2F"}
_KNOWN_OS = frozenset(
    (
        "aix",
        "android",
        "darwin",
        "dragonfly",
        "freebsd",
        "hurd",
        "illumos",
        "ios",
        "js",
        "linux",
        "nacl",
        "netbsd",
        "openbsd",
        "plan9",
        "solaris",
        "windows",
        "zos",
    )
)
_KNOWN_ARCH = frozenset(
    (
        "386",
        "amd64",
        "amd64p32",
        "arm",
        "armbe",
        "arm64",
        "arm64be",
        "ppc64",
        "ppc64le",
        "loong64",
        "mips",
        "mipsle",
        "mips64",
        "mips64le",
        "mips64p32",
        "mips64p32le",
        "ppc",
        "riscv",
        "riscv64",
        "s390",
        "s390x",
        "sparc",
        "sparc64",
        "wasm",
    )
)


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
        architecture, variant = _normal_arch(self.architecture, self.variant)
        return Platform(
            os=_normal_os(self.os),
            architecture=architecture,
            variant=variant,
            os_version=self.os_version,
            os_features=tuple(sorted(set(self.os_features))),
        )


def _normal_os(os: str) -> str:
    os = os.lower() or HOST_OS
    return "darwin" if os == "macos" else os


def _normal_arch(architecture: str, variant: str) -> tuple[str, str]:
    arch, variant = architecture.lower(), variant.lower()
    match arch:
        case "i386":
            return "386", ""
        case "x86_64" | "x86-64" | "amd64":
            return "amd64", "" if variant == "v1" else variant
        case "aarch64" | "arm64":
            return "arm64", {"8": "", "v8": "", "v8.0": "", "9": "v9", "9.0": "v9", "v9.0": "v9"}.get(variant, variant)
        case "armhf":
            return "arm", "v7"
        case "armel":
            return "arm", "v6"
        case "arm":
            return "arm", {"": "v7", "7": "v7", "5": "v5", "6": "v6", "8": "v8"}.get(variant, variant)
    return arch, variant


def format_platform(platform: Platform, *, full: bool = False) -> str:
    """`linux/arm64/v8`; with `full` the OS version and features too (`windows(10.0.17763)/amd64`), as result maps are keyed."""
    if not platform.os:
        return "unknown"
    os = platform.os
    features = sorted({f for f in platform.os_features if f})
    if full and (platform.os_version or features):
        os += "(" + _encoded(platform.os_version) + "".join("+" + _encoded(f) for f in features) + ")"
    return "/".join(p for p in (os, platform.architecture, platform.variant) if p)


def _encoded(text: str) -> str:
    return "".join(_ENCODED.get(ch, ch) for ch in text)


def parse_platform(text: str) -> Platform:
    """The platform that `text` names, normalized. Raises ValueError naming the text."""
    return parse_specifier(text).normalized()


def parse_specifier(text: str) -> Platform:
    """The platform as written: linux/arm64/v8 keeps its variant, linux/arm has none (containerd platforms.Parse).

    Raises ValueError with containerd's words.
    """
    if "*" in text:
        raise ValueError(f'"{text[:100]}": wildcards not yet supported: invalid argument')
    parts = text.split("/", 3)
    platform = _os_component(parts[0], text)
    for part in parts[1:]:
        if _PART.fullmatch(part) is None:
            raise ValueError(
                f'"{_quoted(part[:100])}" is an invalid component of "{_quoted(text[:100])}": '
                f'platform specifier component must match "{_PART_PATTERN}": invalid argument'
            )
    match parts:
        case [single]:
            return _from_single(single, platform, text)
        case [_, arch]:
            return _without_v7(platform, *_normal_arch(arch, ""))
        case [_, arch, variant]:
            arch, variant = _normal_arch(arch, variant)
            variant = "v8" if arch == "arm64" and not variant else variant
            return replace(platform, architecture=arch, variant=variant)
    raise ValueError(f'"{text[:100]}": cannot parse platform specifier: invalid argument')


def _os_component(part: str, text: str) -> Platform:
    match = _OS_PART.fullmatch(part)
    if match is None:
        raise ValueError(
            f'"{_quoted(part[:100])}" is an invalid OS component of "{_quoted(text[:100])}": '
            f'OSAndVersion specifier component must match "{_quoted(_OS_PATTERN)}": invalid argument'
        )
    features = tuple(unquote(f) for f in (match[3] or "").split("+") if f)
    return Platform(os=_normal_os(match[1]), architecture="", os_version=unquote(match[2] or ""), os_features=features)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _without_v7(platform: Platform, arch: str, variant: str) -> Platform:
    return replace(platform, architecture=arch, variant="" if (arch, variant) == ("arm", "v7") else variant)


def _from_single(part: str, platform: Platform, text: str) -> Platform:
    if platform.os in _KNOWN_OS:
        return replace(platform, architecture=HOST_ARCHITECTURE)
    arch, variant = _normal_arch(part, "")
    if arch in _KNOWN_ARCH:
        return _without_v7(replace(platform, os=HOST_OS), arch, variant)
    raise ValueError(f'"{text[:100]}": unknown operating system or architecture: invalid argument')
