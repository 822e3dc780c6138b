"""URLs → backends; ids that stay."""

from pathlib import Path

import pytest

from shared.blobs.memory import MemoryBlobs
from shared.errors import BlobMissing, InvalidInput
from shared.model import is_safe_id, sha256_digest
from shared.run import new_id
from shared.run.backends import MAX_CLAIM, BlobClaims, MeshConfig, mesh_for, open_blobs, open_bus, open_parts, stable_id
from shared.session.registry import SessionRegistry


def test_an_id_is_kept(tmp_path: Path) -> None:
    first = stable_id(tmp_path / "new", "instance")

    assert is_safe_id(first)
    assert stable_id(tmp_path / "new", "instance") == first


def test_a_damaged_id_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "instance").write_text("../..")

    assert is_safe_id(stable_id(tmp_path, "instance"))


def test_ids_look_like_buildkits() -> None:
    ids = {new_id() for _ in range(100)}

    assert len(ids) == 100
    assert all(len(id) == 25 and set(id) <= set("0123456789abcdefghijklmnopqrstuvwxyz") for id in ids)


@pytest.mark.parametrize("url", ["", "redis://x", "file:///x"])
async def test_unknown_buses_are_named(url: str) -> None:
    with pytest.raises(InvalidInput, match="known are memory:// and nats://"):
        await open_bus(url)


@pytest.mark.parametrize("url", ["gs://bucket", "memory"])
def test_unknown_blob_stores_are_named(url: str) -> None:
    with pytest.raises(InvalidInput, match="known are file:// and s3://"):
        open_blobs(url)


def test_s3_needs_a_bucket() -> None:
    with pytest.raises(InvalidInput, match="want s3://host:port/bucket"):
        open_blobs("s3://host:9000")


async def test_claims() -> None:
    blobs = MemoryBlobs()
    claims = BlobClaims(blobs)
    digest = await claims.leave(b"big")

    assert await claims.fetch(digest) == b"big"
    with pytest.raises(BlobMissing):
        await claims.fetch(sha256_digest(b"gone"))


async def test_a_claim_too_large_is_refused() -> None:
    blobs = MemoryBlobs()
    digest = await blobs.put(b"x" * (MAX_CLAIM + 1))

    with pytest.raises(InvalidInput, match="too large"):
        await BlobClaims(blobs).fetch(digest)


async def test_a_mesh_alone(tmp_path: Path) -> None:
    config = MeshConfig(state=tmp_path)
    sessions = SessionRegistry()
    async with (
        open_parts(config) as parts,
        mesh_for("one", parts, sessions=sessions) as one,
        mesh_for("two", parts, sessions=sessions) as two,
    ):
        assert (one.instance, one.bus, one.blobs) == (two.instance, two.bus, two.blobs)
        assert one.calls is not two.calls
        assert one.alone
        digest = await one.blobs.put(b"x")
        bucket = await one.bus.bucket("kept")
        await bucket.put("k", b"v")

    async with open_parts(config) as parts:
        assert await parts.blobs.find_missing([digest]) == frozenset()
        entry = await (await parts.bus.bucket("kept")).get("k")
        assert entry is not None
        assert entry.value == b"v"
        assert parts.instance == one.instance
