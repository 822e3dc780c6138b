"""Which of several images serves a platform best (containerd's platforms.Only, linux part)."""

from collections.abc import Sequence
from typing import TypeVar

from shared.model import Platform

T = TypeVar("T")

_ARM = {"v8": ("v8", "v7", "v6", "v5"), "v7": ("v7", "v6", "v5"), "v6": ("v6", "v5"), "v5": ("v5",)}


def platform_chain(platform: Platform) -> tuple[Platform, ...]:
    """What runs on `platform`, best first: amd64/v3 also runs v2 and plain amd64, arm/v7 also v6 and v5, arm64 also arm."""
    p = platform.normalized()
    options: list[tuple[str, str]] = [(p.architecture, p.variant)]
    match p.architecture, p.variant:
        case "amd64", variant if variant[:1] == "v" and variant[1:].isdigit():
            options += [("amd64", f"v{n}") for n in range(min(int(variant[1:]), 9) - 1, 1, -1)] + [("amd64", "")]
        case "amd64", _:
            options += [("386", "")]
        case "arm", variant:
            options += [("arm", v) for v in _ARM.get(variant or "v7", ())]
        case "arm64", _:
            options += [("arm64", "")] + [("arm", v) for v in _ARM["v8"]]
    if p.architecture == "amd64" and ("386", "") not in options:
        options.append(("386", ""))
    return tuple(Platform(os=p.os, architecture=a, variant=v, os_version=p.os_version) for a, v in dict.fromkeys(options))


def best_match(platform: Platform, candidates: Sequence[tuple[T, Platform | None]]) -> T | None:
    """The candidate standing first in the chain of `platform`; equal ones in their own order, those without a platform last."""
    chain = [(p.os, p.architecture, p.variant) for p in platform_chain(platform)]
    best: tuple[int, T] | None = None
    for value, offered in candidates:
        rank = len(chain)
        if offered is not None:
            n = offered.normalized()
            key = (n.os, n.architecture, n.variant)
            if key not in chain or not _os_version_fits(platform, n):
                continue
            rank = chain.index(key)
        if best is None or rank < best[0]:
            best = (rank, value)
    return None if best is None else best[1]


def _os_version_fits(wanted: Platform, offered: Platform) -> bool:
    return not wanted.os_version or not offered.os_version or wanted.os_version == offered.os_version
