"""Messages solver → exporter."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.model import CacheEntry, Digest, Platform, Ref
from shared.wire.build import TypedAttrs
from shared.wire.execute import Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportAttestation:
    """An attestation with its ref resolved (Attestation of build.py). `content`: the predicate itself, of those that the solver makes."""

    kind: int
    path: str = ""
    ref: Ref | None = None
    content: bytes = b""
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    predicate_type: str = ""
    subjects: tuple[Mapping[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportResult:
    """The result to export. `is_map` tells a map result (then `refs` by platform id) from a single `ref`."""

    ref: Ref | None = None
    is_map: bool = False
    refs: Mapping[str, Ref | None] = field(default_factory=dict)
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    attestations: Mapping[str, tuple[ExportAttestation, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckExport:
    """Parse and validate exporter attributes before the build starts. Answer: ExportChecked, or a failure that names the attribute."""

    exporter: TypedAttrs


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportChecked:
    name: str  # of the progress vertex: "exporting to image"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunExport:
    """Make one output (call `call.exporter`), progress on `vertex`. Answer: ExportDone. `index` = exporter id at the client."""

    exporter: TypedAttrs
    index: int
    vertex: Digest
    result: ExportResult
    platform: Platform  # the default one
    session: str
    scope: Scope
    compatibility_version: int = 30
    inline_cache: Mapping[str, tuple[CacheEntry, ...]] = field(default_factory=dict)  # by platform id ("" = single), for the config


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportDone:
    """`finalize` non-empty: FinalizeExport with it once all exporters are done (push)."""

    response: Mapping[str, str] = field(default_factory=dict)
    finalize: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class FinalizeExport:
    """Second half of an export (push). Answer: Done. Any exporter may take it; `finalize` carries all it needs."""

    finalize: bytes
    vertex: Digest
    session: str
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportCache:
    """Write a cache to where `option` says (call `call.exporter`), progress on `vertex`. Answer: ExportDone."""

    option: TypedAttrs
    entries: tuple[CacheEntry, ...]
    vertex: Digest
    session: str
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportCache:
    """Read a cache that somebody exported (call `call.exporter`), progress on `vertex`. Answer: CacheImported."""

    option: TypedAttrs
    vertex: Digest
    session: str
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheImported:
    """What it says; layers are lazy: they name the repository they come from."""

    entries: tuple[CacheEntry, ...] = ()
