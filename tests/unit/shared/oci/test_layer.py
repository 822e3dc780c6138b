"""Chain ids and whiteout names."""

import hashlib

import pytest

from shared.model import Digest
from shared.oci import EMPTY_TAR_DIFF_ID, OPAQUE_MARKER, chain_id, chain_ids, whiteout_target


def test_chain_ids() -> None:
    """First the diff id, then sha256 of `<chain> <diff id>` (OCI config.md)."""
    a, b = Digest("sha256:" + "a" * 64), Digest("sha256:" + "b" * 64)

    assert (a, Digest("sha256:" + hashlib.sha256(f"{a} {b}".encode()).hexdigest())) == chain_ids([a, b])
    assert chain_id([]) is None


def test_empty_layer() -> None:
    """The well-known digest of an empty tar."""
    assert "sha256:" + hashlib.sha256(bytes(1024)).hexdigest() == EMPTY_TAR_DIFF_ID


def test_whiteouts() -> None:
    """`.wh.x` deletes x; the opaque marker is no plain whiteout; names that would climb are refused."""
    assert whiteout_target(".wh.x") == "x"
    assert whiteout_target("x") is None and whiteout_target(OPAQUE_MARKER) is None
    for bad in (".wh.", ".wh..", ".wh...", ".wh.a/b"):
        with pytest.raises(ValueError, match="invalid whiteout"):
            whiteout_target(bad)
