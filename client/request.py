"""What a build asks for, in the client's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from client.secrets import SecretSource
from client.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """One `--output`. `target`: where a result that comes back to the client goes."""

    kind: str
    attrs: Mapping[str, str] = field(default_factory=dict)
    target: Target | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """One `--export-cache` or `--import-cache`."""

    kind: str
    attrs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """`attrs` are the frontend's options; `locals` name → folder; `layouts` store → folder of an OCI layout; `agents` id → socket."""

    frontend: str = "dockerfile.v0"
    attrs: Mapping[str, str] = field(default_factory=dict)
    locals: Mapping[str, str] = field(default_factory=dict)
    layouts: Mapping[str, str] = field(default_factory=dict)
    exports: tuple[Export, ...] = ()
    cache_exports: tuple[CacheEntry, ...] = ()
    cache_imports: tuple[CacheEntry, ...] = ()
    entitlements: tuple[str, ...] = ()
    secrets: tuple[SecretSource, ...] = ()
    agents: Mapping[str, str] = field(default_factory=dict)
