"""Cache configs: what is written comes back; hostile ones are refused."""

import json

import pytest

from shared.model import CacheEntry, CacheInput, Digest, Layer, sha256_digest
from shared.oci.cache_config import decode_config, decode_inline, descriptor_layer, encode_config, encode_inline, layer_descriptor


def layer(name: str) -> Layer:
    return Layer(
        digest=sha256_digest(name.encode()),
        diff_id=sha256_digest(b"diff " + name.encode()),
        size=5,
        media_type="application/vnd.oci.image.layer.v1.tar+gzip",
        created_at=1_700_000_000_500_000_000,
    )


BASE, MIDDLE, TOP = layer("base"), layer("middle"), layer("top")
ENTRIES = (
    CacheEntry(digest=sha256_digest(b"source")),
    CacheEntry(digest=sha256_digest(b"content")),
    CacheEntry(
        digest=sha256_digest(b"run"),
        inputs=((CacheInput(entry=0), CacheInput(entry=1, selector="sel")),),
        layers=(BASE, MIDDLE),
        created_at=1_700_000_000_000_000_001,
    ),
    CacheEntry(
        digest=sha256_digest(b"copy"), inputs=((CacheInput(entry=2),), (CacheInput(entry=1),)), layers=(BASE, MIDDLE, TOP), created_at=5
    ),
)


def test_a_config_comes_back() -> None:
    """Chains share their layers; parent 0 is left out."""
    data, layers = encode_config(ENTRIES)
    assert layers == (BASE, MIDDLE, TOP)
    assert json.loads(data)["layers"] == [
        {"blob": BASE.digest, "parent": -1},
        {"blob": MIDDLE.digest},
        {"blob": TOP.digest, "parent": 1},
    ]
    assert decode_config(data, {one.digest: one for one in layers}) == ENTRIES


def test_results_whose_blobs_are_gone_are_left_out() -> None:
    """The keys stay."""
    data, _ = encode_config(ENTRIES)
    found = decode_config(data, {BASE.digest: BASE})
    assert [entry.layers for entry in found] == [(), (), (), ()]


def test_inline_records_point_into_the_image() -> None:
    """As a prefix, or layer by layer when the order is another; foreign results are left out."""
    entries = (
        *ENTRIES,
        CacheEntry(digest=sha256_digest(b"other"), layers=(TOP, BASE), created_at=1),
        CacheEntry(digest=sha256_digest(b"x"), layers=(layer("x"),)),
    )
    data = encode_inline(entries, (BASE, MIDDLE, TOP))
    found = decode_inline(data, (BASE, MIDDLE, TOP))
    assert [entry.layers for entry in found] == [(), (), (BASE, MIDDLE), (BASE, MIDDLE, TOP), (TOP, BASE), ()]
    assert encode_inline(entries, (layer("y"),)) == b""


def test_layers_survive_as_descriptors() -> None:
    """Diff id and time stand in annotations."""
    assert descriptor_layer(layer_descriptor(BASE), source="") == BASE


D = Digest("sha256:" + "0" * 64)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        json.dumps({"records": [{"digest": "x"}]}).encode(),
        json.dumps({"records": [{"digest": D, "inputs": [[{"link": 0}]]}]}).encode(),
        json.dumps({"records": [{"digest": D, "inputs": [[{"link": 7}]]}]}).encode(),
        json.dumps({"records": [{"digest": D, "inputs": [[{"link": True}]]}]}).encode(),
        json.dumps({"records": [{"digest": D, "layers": [{"layer": 3}]}]}).encode(),
        json.dumps({"layers": [{"blob": D}], "records": [{"digest": D, "layers": [{"layer": 0}]}]}).encode(),
        json.dumps({"layers": [{"blob": "sha256:../x"}]}).encode(),
    ],
)
def test_what_does_not_hold_together_is_refused(document: bytes) -> None:
    """Loops, indexes out of range, bad digests."""
    with pytest.raises(ValueError, match="invalid cache config"):
        decode_config(document, {D: BASE})
