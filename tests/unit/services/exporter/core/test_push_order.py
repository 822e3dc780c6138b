"""A push, written down and read again by whoever carries it out."""

import json

import pytest

from services.exporter.core.image import Document, Image
from services.exporter.core.push_order import PushOrder, decode_push, encode_push, push_order
from shared.errors import InvalidInput
from shared.model import Layer, sha256_digest
from shared.oci import Descriptor

INDEX, MANIFEST = "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = Layer(digest=sha256_digest(b"l"), diff_id=sha256_digest(b"d"), size=3, media_type="application/x", source="")


def document(kind: str, data: bytes) -> Document:
    return Document(media_type=kind, data=data, digest=sha256_digest(data), status="exporting")


def order() -> PushOrder:
    documents = (document(INDEX, b"root"), document(CONFIG, b"config"), document(MANIFEST, b"child"))
    root = Descriptor(media_type=INDEX, digest=documents[0].digest, size=4)
    image = Image(root=root, documents=documents, layers=(LAYER,), is_index=True)
    return push_order(image, ["r/a:1", "r/b:2"], by_digest=False, insecure=True)


def test_children_come_before_the_root() -> None:
    made = order()

    assert [d.digest for d in made.manifests] == [sha256_digest(b"child"), sha256_digest(b"root")]
    assert [(d.digest, d.size) for d in made.configs] == [(sha256_digest(b"config"), 6)]
    assert (made.layers, made.names, made.by_digest, made.insecure) == ((LAYER,), ("r/a:1", "r/b:2"), False, True)


def test_it_is_read_as_it_was_written() -> None:
    assert decode_push(encode_push(order())) == order()


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"{}", b"null", b"\xff"])
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    with pytest.raises(InvalidInput, match="invalid push order"):
        decode_push(data)


@pytest.mark.parametrize("key", ["names", "byDigest", "insecure", "layers", "configs", "manifests"])
@pytest.mark.parametrize("value", [7, [{"digest": "../x"}], None])
def test_values_of_another_kind_are_refused_or_harmless(key: str, value: object) -> None:
    """It comes over the bus: what is no digest is refused, what is not exactly true is false."""
    plain = json.loads(encode_push(order()))
    plain[key] = value
    try:
        read = decode_push(json.dumps(plain).encode())
    except InvalidInput:
        return
    assert key in ("names", "byDigest", "insecure")
    assert (read.by_digest, read.insecure) == (False, key != "insecure")
