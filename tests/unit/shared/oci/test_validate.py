"""An unsound image is told in full before it is pushed."""

import json

from shared.model import Digest, Platform, sha256_digest
from shared.oci import Descriptor, Index, Manifest, default_image_config, go_json, parse_image_config, validate_image, with_rootfs
from shared.oci.media_types import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST

_DIFF = Digest("sha256:" + "d" * 64)


def _image(diff_ids: list[Digest], layers: int = 1) -> tuple[Digest, dict[Digest, bytes]]:
    config = go_json(with_rootfs(default_image_config(Platform(os="linux", architecture="amd64")), diff_ids))
    manifest = Manifest(
        config=Descriptor(media_type=OCI_CONFIG, digest=sha256_digest(config), size=len(config)),
        layers=(Descriptor(media_type=OCI_LAYER, digest=_DIFF, size=1),) * layers,
    ).encode()
    root = sha256_digest(manifest)
    return root, {root: manifest, sha256_digest(config): config}


def test_sound() -> None:
    """No problems for an image whose parts agree, alone or inside an index."""
    root, docs = _image([_DIFF])
    index = Index(manifests=(Descriptor(media_type=OCI_MANIFEST, digest=root, size=len(docs[root])),)).encode()

    assert validate_image(root, docs) == []
    assert validate_image(sha256_digest(index), {**docs, sha256_digest(index): index}) == []


def test_problems() -> None:
    """Layer counts, missing documents and false digests are all found."""
    root, docs = _image([_DIFF], layers=2)

    assert "2 layers but 1 diff ids" in validate_image(root, docs)[0]
    assert "missing" in validate_image(root, {root: docs[root]})[0]
    assert "do not match" in validate_image(root, {root: docs[root] + b" "})[0]


def test_config_keeps_unknown_fields() -> None:
    """Fields we do not know survive, keys come out sorted."""
    config = parse_image_config(json.dumps({"os": "linux", "architecture": "amd64", "moby.x": {"b": 1, "a": "<"}}).encode())

    assert config.encode() == b'{"architecture":"amd64","moby.x":{"a":"\\u003c","b":1},"os":"linux"}'
    assert not config.layered
