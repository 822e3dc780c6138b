"""Annotation attributes: `annotation[-<type>][[<platform>]].<key>=value` (exporter/containerimage/exptypes/annotations.go)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from shared.errors import InvalidInput
from shared.model import format_platform, parse_platform

_KEY = re.compile(r"annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)")


class Target(StrEnum):
    """What an annotation is put on."""

    MANIFEST = "manifest"
    MANIFEST_DESCRIPTOR = "manifest-descriptor"
    INDEX = "index"
    INDEX_DESCRIPTOR = "index-descriptor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotation:
    """One annotation; `platform` "" = all."""

    target: Target
    platform: str
    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The annotations of one image (or of the index, for platform None)."""

    manifest: Mapping[str, str] = field(default_factory=dict)
    manifest_descriptor: Mapping[str, str] = field(default_factory=dict)
    index: Mapping[str, str] = field(default_factory=dict)
    index_descriptor: Mapping[str, str] = field(default_factory=dict)


def parse_annotation(key: str, value: str) -> Annotation | None:
    """None when `key` is no annotation at all. Raises InvalidInput for a bad type or platform."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    kind, platform, name = match[1] or Target.MANIFEST, match[2], match[3]
    if kind not in Target._value2member_map_:
        raise InvalidInput(f"unrecognized annotation type {kind} in {key!r}")
    try:
        formatted = format_platform(parse_platform(platform), full=True) if platform else ""
    except ValueError as e:
        raise InvalidInput(f"annotation {key!r}: {e}") from None
    return Annotation(target=Target(kind), platform=formatted, key=name, value=value)


def split_annotations(pairs: Iterable[tuple[str, str]]) -> tuple[tuple[Annotation, ...], dict[str, str]]:
    """Annotations, and the attributes that are none."""
    found: list[Annotation] = []
    rest: dict[str, str] = {}
    for key, value in pairs:
        annotation = parse_annotation(key, value)
        if annotation is None:
            rest[key] = value
        else:
            found.append(annotation)
    return tuple(found), rest


def place(annotations: Iterable[Annotation], platform_id: str | None) -> Placed:
    """Those that concern `platform_id`; index ones always. Later ones win, platform ones over general ones."""
    maps: dict[Target, dict[str, str]] = {t: {} for t in Target}
    chosen = [a for a in annotations if a.platform == "" or a.target in (Target.INDEX, Target.INDEX_DESCRIPTOR)]
    chosen += [a for a in annotations if a.platform and a.platform == platform_id]
    for a in chosen:
        maps[a.target][a.key] = a.value
    return Placed(
        manifest=maps[Target.MANIFEST],
        manifest_descriptor=maps[Target.MANIFEST_DESCRIPTOR],
        index=maps[Target.INDEX],
        index_descriptor=maps[Target.INDEX_DESCRIPTOR],
    )


def check(annotations: Iterable[Annotation], *, platform_ids: Iterable[str], oci_types: bool) -> None:
    """Raises InvalidInput for a platform that the result lacks, or index annotations without OCI types."""
    known = set(platform_ids)
    for a in annotations:
        if a.platform and a.platform not in known:
            raise InvalidInput(f"invalid annotation: no platform {a.platform} found in source")
        if not oci_types and a.target is not Target.MANIFEST:
            raise InvalidInput('cannot export annotations with "oci-mediatypes=false"')
