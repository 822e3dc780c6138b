"""Manifests and indexes: decode what others wrote, encode ours with the bytes BuildKit would write (exporter writer.go)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.model import Platform
from shared.oci.descriptor import Descriptor, descriptor_from_json, string_map
from shared.oci.go_json import go_json_indent, load_object
from shared.oci.media_types import DOCKER_MANIFEST_V1, INDEX_TYPES, MANIFEST_TYPES, OCI_INDEX, OCI_MANIFEST
from shared.oci.platforms import best_match

_LIMIT = 4 << 20
_MAX_CHILDREN = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """One image: its config and its layers, base first."""

    config: Descriptor
    layers: tuple[Descriptor, ...]
    media_type: str = OCI_MANIFEST
    annotations: Mapping[str, str] = field(default_factory=dict)
    subject: Descriptor | None = None
    artifact_type: str = ""

    def children(self) -> tuple[Descriptor, ...]:
        """What must exist before this may be pushed."""
        return (self.config, *self.layers)

    def encode(self) -> bytes:
        """Indented by two spaces, fields in image-spec's order."""
        out: dict[str, Any] = {"schemaVersion": 2, "mediaType": self.media_type}
        if self.artifact_type:
            out["artifactType"] = self.artifact_type
        out["config"] = self.config.to_json()
        out["layers"] = [d.to_json() for d in self.layers]
        if self.subject is not None:
            out["subject"] = self.subject.to_json()
        if self.annotations:
            out["annotations"] = dict(sorted(self.annotations.items()))
        return go_json_indent(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """Several manifests under one digest."""

    manifests: tuple[Descriptor, ...]
    media_type: str = OCI_INDEX
    annotations: Mapping[str, str] = field(default_factory=dict)
    artifact_type: str = ""
    subject: Descriptor | None = None

    def children(self) -> tuple[Descriptor, ...]:
        """What must exist before this may be pushed."""
        return self.manifests

    def encode(self) -> bytes:
        """Indented by two spaces, fields in image-spec's order."""
        out: dict[str, Any] = {"schemaVersion": 2, "mediaType": self.media_type}
        if self.artifact_type:
            out["artifactType"] = self.artifact_type
        out["manifests"] = [d.to_json() for d in self.manifests]
        if self.subject is not None:
            out["subject"] = self.subject.to_json()
        if self.annotations:
            out["annotations"] = dict(sorted(self.annotations.items()))
        return go_json_indent(out)

    def select(self, platform: Platform) -> Descriptor | None:
        """The child that serves `platform` best, or None. Children without a platform come last."""
        return best_match(platform, [(d, d.platform) for d in self.manifests])


def parse_manifest(data: bytes, media_type: str = "") -> Manifest | Index:
    """Decode and validate; `media_type` is what the registry or the descriptor said, used when the document has none.

    Raises ValueError: too large (> 4 MiB), not JSON, schema 1, both `layers` and `manifests` (CVE-2021-41190), bad descriptors.
    """
    doc = load_object(data, "manifest", limit=_LIMIT)
    if doc.get("schemaVersion") == 1 or media_type.startswith(DOCKER_MANIFEST_V1):
        raise ValueError("support for Docker image manifest version 2, schema 1 has been removed")
    if "manifests" in doc and ("layers" in doc or "config" in doc):
        raise ValueError("invalid manifest: both an image manifest and an index")
    said = doc.get("mediaType") or media_type
    if "manifests" in doc or (said in INDEX_TYPES and "layers" not in doc):
        return _index(doc, said if said in INDEX_TYPES else OCI_INDEX)
    if said and said not in MANIFEST_TYPES:
        raise ValueError(f"invalid manifest: unexpected media type {said!r:.100}")
    return _manifest(doc, said or OCI_MANIFEST)


def _manifest(doc: dict[str, Any], media_type: str) -> Manifest:
    return Manifest(
        media_type=media_type,
        config=descriptor_from_json(doc.get("config"), "manifest config"),
        layers=_descriptors(doc.get("layers"), "layer"),
        annotations=string_map(doc.get("annotations"), "manifest annotations"),
        subject=descriptor_from_json(doc["subject"], "manifest subject") if doc.get("subject") else None,
        artifact_type=str(doc.get("artifactType") or ""),
    )


def _index(doc: dict[str, Any], media_type: str) -> Index:
    return Index(
        media_type=media_type,
        manifests=_descriptors(doc.get("manifests"), "index entry"),
        annotations=string_map(doc.get("annotations"), "index annotations"),
        artifact_type=str(doc.get("artifactType") or ""),
        subject=descriptor_from_json(doc["subject"], "index subject") if doc.get("subject") else None,
    )


def _descriptors(value: Any, what: str) -> tuple[Descriptor, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or len(value) > _MAX_CHILDREN:
        raise ValueError(f"invalid manifest: {what}s are not a list of at most {_MAX_CHILDREN}")
    return tuple(descriptor_from_json(v, f"{what} {i}") for i, v in enumerate(value))
