"""A Solve request as it arrived → one canonical build request, or a clear refusal.

Behaviour: BuildKit control/control.go (Solve), solver/llbsolver/compat, frontend/attestations, util/entitlements.
"""

import csv
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from shared.errors import InvalidInput, UserError
from shared.model import require_safe_id

COMPATIBILITY_VERSIONS = (10, 20, 30)
"""BuildKit 0.13, 0.15 and 0.31; the last one is current."""

CACHE_TYPES = frozenset({"registry", "inline", "local", "s3", "gha", "azblob"})
EXPORTER_TYPES = frozenset({"image", "oci", "docker", "local", "tar"})
ENTITLEMENTS = frozenset({"security.insecure", "network.host", "device"})
DEFAULT_SBOM_GENERATOR = "docker/buildkit-syft-scanner:stable-1"
SLSA_VERSIONS = ("v0.2", "v1")

_EPOCH_ARG = "build-arg:SOURCE_DATE_EPOCH"
_EPOCH_ATTR = "source-date-epoch"
_EPOCH_VALUE = re.compile(r"([+-]?[0-9]{1,18})?")
_ATTEST_PREFIXES = ("attest:", "build-arg:BUILDKIT_ATTEST_")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """An exporter, a cache export or a cache import: its type and its attributes."""

    type: str
    attrs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveRequest:
    """Fields of moby.buildkit.v1.SolveRequest. Definitions and the policy are marshalled protobuf, empty = not set."""

    ref: str
    session: str = ""
    definition: bytes = b""
    scratch: bool = False  # a definition without ops was given: an empty tree is wanted, nobody drives the build
    frontend: str = ""
    frontend_attrs: Mapping[str, str] = field(default_factory=dict)
    frontend_inputs: Mapping[str, bytes] = field(default_factory=dict)
    exporters: Sequence[Part] = ()
    legacy_exporter: Part | None = None
    cache_exports: Sequence[Part] = ()
    cache_imports: Sequence[Part] = ()
    legacy_export_ref: str = ""
    legacy_export_attrs: Mapping[str, str] = field(default_factory=dict)
    legacy_import_refs: Sequence[str] = ()
    entitlements: Sequence[str] = ()
    internal: bool = False
    source_policy: bytes = b""
    source_policy_session: str = ""
    enable_session_exporter: bool = False
    compatibility_version: int = 0
    proxy_network: bool = False


def canonical(request: SolveRequest, *, allowed_entitlements: Collection[str]) -> SolveRequest:
    """`request` with legacy fields folded in and everything checked that can be checked before any work.

    Raises InvalidInput for malformed ids, UserError (code UNKNOWN, as BuildKit) for everything else.
    """
    _check_ids(request)
    if request.definition and request.frontend:
        raise UserError("invalid request: both Definition and Frontend are set")
    folded = _fold_legacy(request)
    version = _compatibility_version(folded.compatibility_version)
    check_entitlements(folded.entitlements, allowed=allowed_entitlements)
    exporters = tuple(_with_epoch(e, folded.frontend_attrs) for e in folded.exporters)
    for exporter in exporters:
        if exporter.type not in EXPORTER_TYPES:
            raise UserError(f'exporter "{exporter.type[:100]}" could not be found')
    exports = distinct_cache_exports(folded.cache_exports)
    for export in exports:
        if export.type not in CACHE_TYPES:
            raise UserError(f'unknown cache exporter: "{export.type[:100]}"')
    parse_attestations(folded.frontend_attrs)
    return replace(folded, compatibility_version=version, exporters=exporters, cache_exports=exports)


def _check_ids(request: SolveRequest) -> None:
    try:
        require_safe_id(request.ref, "build ref")
        for session in filter(None, (request.session, request.source_policy_session)):
            require_safe_id(session, "session id")
    except ValueError as error:
        raise InvalidInput(str(error)) from None


def _fold_legacy(request: SolveRequest) -> SolveRequest:
    exports, imports, exporters = list(request.cache_exports), list(request.cache_imports), tuple(request.exporters)
    if request.legacy_export_ref:
        exports.append(Part(type="registry", attrs={**request.legacy_export_attrs, "ref": request.legacy_export_ref}))
    imports += [Part(type="registry", attrs={"ref": ref}) for ref in request.legacy_import_refs]
    # the Go client fills the deprecated pair as well as the list, so the pair counts only without a list
    if not exporters and request.legacy_exporter is not None and request.legacy_exporter.type:
        exporters = (request.legacy_exporter,)
    return replace(
        request,
        exporters=exporters,
        cache_exports=tuple(exports),
        cache_imports=tuple(imports),
        legacy_exporter=None,
        legacy_export_ref="",
        legacy_export_attrs={},
        legacy_import_refs=(),
    )


def _compatibility_version(version: int) -> int:
    current = COMPATIBILITY_VERSIONS[-1]
    if version == 0:
        return current
    if version in COMPATIBILITY_VERSIONS:
        return version
    if version > current:
        raise UserError(f"unsupported compatibility-version {version}: upgrade buildkit (max supported: {current})")
    raise UserError(f"unsupported compatibility-version {version} (supported: {list(COMPATIBILITY_VERSIONS)})")


def check_entitlements(wanted: Sequence[str], *, allowed: Collection[str]) -> None:
    """Raises UserError for an unknown entitlement and for one that the configuration does not grant."""
    for entitlement in wanted:
        name, _, rest = entitlement.partition("=")
        if name not in ENTITLEMENTS or (rest and name != "device"):
            raise UserError(f"unknown entitlement {entitlement[:100]}")
        if name not in allowed:
            raise UserError(f"granting entitlement {name} is not allowed by build daemon configuration")


def _with_epoch(exporter: Part, frontend_attrs: Mapping[str, str]) -> Part:
    """A value that is no number ("context") is for the frontend alone, which answers with the time it stands for."""
    epoch = frontend_attrs.get(_EPOCH_ARG)
    if epoch is None or not _EPOCH_VALUE.fullmatch(epoch) or _EPOCH_ATTR in exporter.attrs:
        return exporter
    return Part(type=exporter.type, attrs={**exporter.attrs, _EPOCH_ATTR: epoch})


def distinct_cache_exports(exports: Sequence[Part]) -> tuple[Part, ...]:
    """All but repeated `inline` ones. Raises UserError naming the types of other duplicates."""
    kept: list[Part] = []
    seen: set[str] = set()
    twice: dict[str, str] = {}
    for export in exports:
        if export.type == "inline" and any(k.type == "inline" for k in kept):
            continue
        key = _cache_key(export)
        if key in seen:
            twice[key] = export.type
        seen.add(key)
        kept.append(export)
    if twice:
        raise UserError(f"duplicate cache exports [{' '.join(twice.values())}]")
    return tuple(kept)


def _cache_key(export: Part) -> str:
    if export.type == "registry" and export.attrs.get("ref"):
        return export.attrs["ref"]
    return json.dumps([export.type, dict(export.attrs)], sort_keys=True)


def parse_attestations(attrs: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """`attest:<kind>` and `build-arg:BUILDKIT_ATTEST_<KIND>` as kind → attributes, defaults filled in.

    Raises UserError for an unknown kind, malformed CSV, an empty generator or an unknown SLSA version.
    """
    found: dict[str, dict[str, str]] = {}
    for key, value in attrs.items():
        prefix = next((p for p in _ATTEST_PREFIXES if key.startswith(p)), None)
        if prefix is not None:
            kind = key.removeprefix(prefix).lower()
            found[kind] = _attestation(kind, value)
    return found


def _attestation(kind: str, value: str) -> dict[str, str]:
    match kind:
        case "sbom":
            parsed = {"generator": DEFAULT_SBOM_GENERATOR}
        case "provenance":
            parsed = {"version": "v1"}
        case _:
            raise UserError(f'unknown attestation type "{kind[:100]}"')
    for item in csv_fields(value, what=kind):
        name, _, text = item.partition("=")
        parsed[name] = text
    if not parsed.get("generator", "x"):
        raise UserError("sbom generator cannot be empty")
    if parsed.get("version", "v1") not in SLSA_VERSIONS and kind == "provenance":
        raise UserError(f"invalid provenance SLSA version: {parsed['version'][:100]}")
    return parsed


def csv_fields(text: str, *, what: str) -> list[str]:
    """The fields of one CSV line; none for an empty text. Raises UserError naming `what`."""
    if not text:
        return []
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        raise UserError(f"failed to parse {what}: {error}") from None
    return rows[0] if rows else []
