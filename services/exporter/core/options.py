"""Exporter attributes, parsed once before the build starts (exporter/containerimage/opts.go, export.go, exporter/oci/export.go).

Unknown attributes are no error: for image, oci and docker they join the result's metadata, for local and tar they are ignored.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from services.exporter.core import epoch as epochs
from services.exporter.core.annotations import Annotation, split_annotations
from services.exporter.core.values import parse_bool, parse_flag, parse_int
from shared.errors import BuildFailed, InvalidInput


class Kind(StrEnum):
    """The exporters we have; the value is the type in the request."""

    IMAGE = "image"
    OCI = "oci"
    DOCKER = "docker"
    LOCAL = "local"
    TAR = "tar"


VERTEX_NAME = {
    Kind.IMAGE: "exporting to image",
    Kind.OCI: "exporting to oci image format",
    Kind.DOCKER: "exporting to docker image format",
    Kind.LOCAL: "exporting to client directory",
    Kind.TAR: "exporting to client tarball",
}

_LEVELS = {"gzip": (0, 9), "estargz": (0, 9), "zstd": (0, 22), "uncompressed": (-1, 22)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Everything an exporter was asked for. `None` = not given, the default depends on the kind and the compatibility version."""

    kind: Kind
    name: str = ""
    push: bool = False
    push_by_digest: bool = False
    insecure: bool = False
    unpack: bool = False
    store: bool = True
    dangling_prefix: str = ""
    dangling_empty_only: bool = False
    name_canonical: bool = False
    oci_types: bool | None = None
    oci_artifact: bool | None = None
    inline_attestations: bool = False
    prefer_nondist: bool = False
    rewrite_timestamp: bool = False
    compression: str = "gzip"
    compression_level: int = -1
    force_compression: bool = False
    epoch: epochs.Epoch | None = None
    tar: bool = True
    platform_split: bool | None = None
    mode: str = "copy"
    attestation_prefix: str = ""
    annotations: tuple[Annotation, ...] = ()
    extra: Mapping[str, str] = field(default_factory=dict)

    def use_oci_types(self, compatibility: int, *, attested: bool) -> bool:
        """Whether OCI media types are written."""
        if self.oci_types is not None:
            return self.oci_types
        return self.kind is Kind.OCI or compatibility >= 30 or attested


def parse_options(kind: str, attrs: Mapping[str, str]) -> Options:
    """Raises InvalidInput/BuildFailed naming the attribute; an unknown type: `exporter "x" could not be found`."""
    if kind not in Kind._value2member_map_:
        raise BuildFailed(f'exporter "{kind[:100]}" could not be found')
    if Kind(kind) in (Kind.LOCAL, Kind.TAR):
        return _parse_tree(Kind(kind), attrs)
    return _parse_image(Kind(kind), attrs)


def _parse_tree(kind: Kind, attrs: Mapping[str, str]) -> Options:
    mode = attrs.get("mode", "copy") or "copy"
    if kind is Kind.LOCAL and mode not in ("copy", "delete"):
        raise InvalidInput(f'invalid local exporter mode "{mode[:100]}": must be one of "copy" or "delete"')
    split = attrs.get("platform-split")
    return Options(
        kind=kind,
        epoch=epochs.from_attrs(attrs),
        mode=mode,
        platform_split=parse_bool("platform-split", split) if split is not None else None,
        attestation_prefix=attrs.get("attestation-prefix", ""),
    )


_FLAGS = {
    "push": "push",
    "push-by-digest": "push_by_digest",
    "registry.insecure": "insecure",
    "unpack": "unpack",
    "store": "store",
    "danging-name-empty-only": "dangling_empty_only",
    "name-canonical": "name_canonical",
}
_BOOLS = {
    "oci-mediatypes": "oci_types",
    "oci-artifact": "oci_artifact",
    "attestation-inline": "inline_attestations",
    "prefer-nondist-layers": "prefer_nondist",
    "rewrite-timestamp": "rewrite_timestamp",
}
_TEXTS = {"name": "name", "dangling-name-prefix": "dangling_prefix"}


_COMMON = (epochs.ATTRIBUTE, "compression", "compression-level", "force-compression")


def _field(kind: Kind, key: str) -> tuple[str, Callable[[str, str], object] | None]:
    """Which field an attribute sets, and how its value is read; (…, None) for what this exporter doesn't know."""
    if key in _BOOLS:
        return _BOOLS[key], parse_bool
    if key == "name" or (kind is Kind.IMAGE and key in _TEXTS):
        return _TEXTS[key], _as_text
    if kind is Kind.IMAGE and key in _FLAGS:
        return _FLAGS[key], parse_flag
    if kind is not Kind.IMAGE and key == "tar":
        return "tar", parse_flag
    return "", None


def _as_text(key: str, value: str) -> str:
    return value


def _parse_image(kind: Kind, attrs: Mapping[str, str]) -> Options:
    annotations, rest = split_annotations(attrs.items())
    values: dict[str, object] = {"inline_attestations": kind is Kind.IMAGE}
    extra: dict[str, str] = {}
    for key, value in rest.items():
        if key in _COMMON:
            continue
        field_name, parse = _field(kind, key)
        if parse is None:
            extra[key] = value
        else:
            values[field_name] = parse(key, value)
    compression, level, force = parse_compression(rest)
    options = Options(
        kind=kind,
        compression=compression,
        compression_level=level,
        force_compression=force,
        epoch=epochs.from_attrs(rest),
        annotations=annotations,
        extra=extra,
        **values,  # type: ignore[arg-type]
    )
    check_conflicts(options, oci_types=options.oci_types)
    return options


def parse_compression(attrs: Mapping[str, str]) -> tuple[str, int, bool]:
    """(type, level, force) of the compression attributes (util/compression/attrs.go)."""
    kind = attrs.get("compression", "gzip")
    if kind not in _LEVELS:
        raise InvalidInput(f"unsupported compression type {kind[:100]}")
    level = -1
    if "compression-level" in attrs:
        low, high = _LEVELS[kind]
        level = parse_int("compression-level", attrs["compression-level"], low=low, high=high)
    force = parse_flag("force-compression", attrs["force-compression"]) if "force-compression" in attrs else False
    return kind, level, force


def check_conflicts(options: Options, *, oci_types: bool | None) -> None:
    """Raises InvalidInput for attributes that contradict each other; `oci_types` None = not decided yet."""
    if oci_types is False and options.compression == "estargz":
        raise InvalidInput(f'exporter option "compression={options.compression}" conflicts with "oci-mediatypes=false"')
    if oci_types is False and options.oci_artifact:
        raise InvalidInput('exporter option "oci-artifact=true" conflicts with "oci-mediatypes=false"')
