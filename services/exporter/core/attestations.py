"""In-toto statements about a result, and the manifest that carries them beside an image (exporter/attestation, containerimage/writer.go).

A statement names its subjects, the type of its predicate, and the predicate. In an image it is a layer of a manifest of its own, which the
index lists with the platform unknown/unknown and the digest of the image that it speaks of.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from shared.errors import BuildFailed
from shared.model import Digest, Platform, sha256_digest
from shared.oci import Descriptor, Manifest, go_json, go_json_indent
from shared.oci.media_types import IN_TOTO, OCI_CONFIG, OCI_EMPTY, OCI_MANIFEST
from shared.oci.purl import image_purl

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/"
MAX_BYTES = 40 << 20
UNKNOWN = Platform(os="unknown", architecture="unknown")
_ARTIFACT = "application/vnd.docker.attestation.manifest.v1+json"


class SubjectKind(IntEnum):
    """What a subject is: the result itself, or something given by name and digest."""

    SELF = 0
    RAW = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """`digests` by algorithm."""

    name: str
    digests: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "digest": dict(sorted(self.digests.items()))}


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectWish:
    """A subject as the frontend asked for it."""

    kind: SubjectKind = SubjectKind.SELF
    name: str = ""
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Predicate:
    """One attestation, read: `data` is the JSON of the predicate, `path` the file that it is written to where results are files."""

    path: str
    predicate_type: str
    data: bytes
    subjects: tuple[SubjectWish, ...] = ()
    inline_only: bool = False
    first: bool = False


def parse_predicate(data: bytes) -> Any:
    """Any JSON value. Raises BuildFailed for what is none."""
    if len(data) > MAX_BYTES:
        raise BuildFailed(f"attestation exceeds {MAX_BYTES} bytes")
    try:
        return json.loads(data) if data.strip() else None
    except (ValueError, RecursionError) as error:
        raise BuildFailed(f"cannot read in-toto attestation: {error}") from None


def statement(predicate: Predicate, own: Sequence[Subject]) -> dict[str, Any]:
    """`own` are the subjects of the result itself."""
    subjects: list[Subject] = []
    for wish in predicate.subjects or (SubjectWish(),):
        if wish.kind is SubjectKind.RAW:
            subjects.append(Subject(name=wish.name or "_", digests=wish.digests))
            continue
        for subject in own:
            subjects.append(subject)
            if wish.name and wish.name != "_":
                subjects.append(Subject(name=wish.name, digests=subject.digests))
    return {
        "_type": STATEMENT,
        "predicateType": predicate.predicate_type,
        "subject": [subject.to_json() for subject in subjects],
        "predicate": parse_predicate(predicate.data),
    }


def image_subjects(names: str, platform: Platform, digest: Digest) -> list[Subject]:
    """The image under each of its names (comma separated). Raises BuildFailed for a name that is no reference."""
    algorithm, _, value = digest.partition(":")
    try:
        purls = [image_purl(name, platform) for name in names.split(",") if name]
    except ValueError as error:
        raise BuildFailed(f"failed to parse ref: {error}") from None
    return [Subject(name=purl, digests={algorithm: value}) for purl in purls]


@dataclass(frozen=True, slots=True, kw_only=True)
class Carrier:
    """A manifest made of statements: its descriptor for the index, and the blobs (manifest first) as (descriptor, bytes)."""

    descriptor: Descriptor
    blobs: tuple[tuple[Descriptor, bytes], ...]


def carrier(image: Descriptor, statements: Sequence[Mapping[str, Any]], *, artifact: bool) -> Carrier:
    """`artifact`: an OCI artifact that has `image` as its subject; else an image without platform."""
    layers = [_layer(s) for s in statements]
    config = b"{}" if artifact else _image_config([d for d, _ in layers])
    kind = OCI_EMPTY if artifact else OCI_CONFIG
    described = Descriptor(media_type=kind, digest=sha256_digest(config), size=len(config), data=config if artifact else None)
    subject = Descriptor(media_type=image.media_type, digest=image.digest, size=image.size) if artifact else None
    manifest = Manifest(
        config=described,
        layers=tuple(d for d, _ in layers),
        subject=subject,
        artifact_type=_ARTIFACT if artifact else "",
    ).encode()
    descriptor = Descriptor(
        media_type=OCI_MANIFEST,
        digest=sha256_digest(manifest),
        size=len(manifest),
        platform=UNKNOWN,
        annotations={"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.digest},
    )
    return Carrier(descriptor=descriptor, blobs=((descriptor, manifest), (described, config), *layers))


def _layer(found: Mapping[str, Any]) -> tuple[Descriptor, bytes]:
    data = go_json(found)
    digest = sha256_digest(data)
    annotations = {"in-toto.io/predicate-type": str(found["predicateType"])}
    return Descriptor(media_type=IN_TOTO, digest=digest, size=len(data), annotations=annotations), data


def _image_config(layers: Sequence[Descriptor]) -> bytes:
    """The fields of image-spec's Go struct in their order."""
    rootfs = {"type": "layers", "diff_ids": [layer.digest for layer in layers]}
    return go_json({"architecture": UNKNOWN.architecture, "os": UNKNOWN.os, "config": {}, "rootfs": rootfs})


def statement_files(predicates: Sequence[Predicate], own: Sequence[Subject], *, prefix: str, platform_id: str) -> list[tuple[str, bytes]]:
    """Names and contents of the files beside a tree; `platform_id` goes into the names when several platforms share a folder."""
    files: dict[str, bytes] = {}
    for predicate in predicates:
        name = prefix + predicate.path.rstrip("/").rpartition("/")[2]
        if platform_id:
            stem, dot, extension = name.rpartition(".")
            stem, end = (stem, dot + extension) if dot else (name, "")
            name = f"{stem}.{platform_id.replace('/', '_')}{end}"
        if name in files:
            raise BuildFailed(f"duplicate attestation path name {name}")
        files[name] = go_json_indent(statement(predicate, own))
    return list(files.items())
