"""Manifests: bytes as BuildKit writes them, and careful reading of what others wrote."""

import json

import pytest

from shared.model import Digest, Platform
from shared.oci import Descriptor, Index, Manifest, parse_manifest
from shared.oci.media_types import DOCKER_INDEX, OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST

_A = Digest("sha256:" + "a" * 64)
_B = Digest("sha256:" + "b" * 64)


def _desc(digest: Digest = _A, media_type: str = OCI_MANIFEST, platform: Platform | None = None) -> Descriptor:
    return Descriptor(media_type=media_type, digest=digest, size=7, platform=platform)


def test_manifest_bytes() -> None:
    """Two-space indent, image-spec's field order, HTML characters escaped as Go does, no final newline."""
    manifest = Manifest(config=_desc(media_type=OCI_CONFIG), layers=(_desc(_B, OCI_LAYER + "+gzip"),), annotations={"z": "<&>", "a": "é"})

    config = f'{{\n    "mediaType": "application/vnd.oci.image.config.v1+json",\n    "digest": "{_A}",\n    "size": 7\n  }}'
    layer = f'{{\n      "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",\n      "digest": "{_B}",\n      "size": 7\n    }}'
    expected = (
        '{\n  "schemaVersion": 2,\n  "mediaType": "application/vnd.oci.image.manifest.v1+json",\n'
        f'  "config": {config},\n  "layers": [\n    {layer}\n  ],\n'
        '  "annotations": {\n    "a": "é",\n    "z": "\\u003c\\u0026\\u003e"\n  }\n}'
    )
    assert expected.encode() == manifest.encode()
    assert parse_manifest(manifest.encode()) == manifest


def test_index_round_trip_and_selection() -> None:
    """An index finds the child that runs best on a platform: the exact variant, then lesser ones."""
    amd = Platform(os="linux", architecture="amd64")
    arm6 = Platform(os="linux", architecture="arm", variant="v6")
    index = Index(manifests=(_desc(_A, platform=amd), _desc(_B, platform=arm6)))

    assert parse_manifest(index.encode()) == index
    assert index.select(Platform(os="linux", architecture="amd64", variant="v3")).digest == _A  # type: ignore[union-attr]
    assert index.select(Platform(os="linux", architecture="arm", variant="v7")).digest == _B  # type: ignore[union-attr]
    assert index.select(Platform(os="linux", architecture="s390x")) is None


def test_attestation_manifests_are_never_selected() -> None:
    """unknown/unknown is no platform that runs."""
    index = Index(manifests=(_desc(platform=Platform(os="unknown", architecture="unknown")),))

    assert index.select(Platform(os="linux", architecture="amd64")) is None


@pytest.mark.parametrize(
    ("doc", "message"),
    [
        (b"[]", "not a JSON object"),
        (b"{", "not JSON"),
        (b'{"schemaVersion":1,"name":"x"}', "schema 1"),
        (json.dumps({"manifests": [], "layers": []}).encode(), "both"),
        (json.dumps({"mediaType": "text/plain", "layers": []}).encode(), "unexpected media type"),
        (json.dumps({"config": {"digest": "sha256:x", "size": 1}, "layers": []}).encode(), "invalid digest"),
        (json.dumps({"config": {"digest": _A, "size": -1}, "layers": []}).encode(), "size"),
        (json.dumps({"config": {"digest": _A, "size": True}, "layers": []}).encode(), "size"),
        (json.dumps({"config": {"digest": _A, "size": 1}, "layers": {}}).encode(), "not a list"),
        (json.dumps({"config": {"digest": _A, "size": 1, "annotations": {"a": 1}}, "layers": []}).encode(), "annotations"),
        (b"[" * 100000, "not JSON"),
        (b" " * (5 << 20), "more than"),
    ],
)
def test_hostile_documents(doc: bytes, message: str) -> None:
    """Each bad document raises ValueError that says what is wrong."""
    with pytest.raises(ValueError, match=message):
        parse_manifest(doc)


def test_media_type_of_the_registry_counts_when_the_document_has_none() -> None:
    """An empty list document is told apart by its content type."""
    assert isinstance(parse_manifest(b'{"schemaVersion":2}', DOCKER_INDEX), Index)
    assert parse_manifest(b'{"schemaVersion":2,"manifests":[]}').media_type == OCI_INDEX
