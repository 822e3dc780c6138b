"""The blob store contract: memory, disk, a real S3 server, and the wrappers around them."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from shared.blobs.disk import DiskBlobs
from shared.blobs.memory import MemoryBlobs
from shared.blobs.ports import Blobs
from shared.blobs.s3 import S3Blobs, S3Settings
from shared.blobs.wrappers import DeduplicatedBlobs, FastSlowBlobs, MeteredBlobs, VerifyingBlobs
from shared.errors import BlobMissing, InvalidInput, Unavailable
from shared.model import Digest, sha256_digest
from tests.kit.parts.minio import S3

BIG = os.urandom(3_500_000)


def s3_blobs(server: S3, prefix: str) -> S3Blobs:
    url = urlsplit(f"s3://{server.endpoint}/{server.bucket}/{prefix}")
    return S3Blobs(S3Settings.parse(url, {}, server.environment))


def makers(tmp_path: Path, request: pytest.FixtureRequest) -> dict[str, Callable[[], Blobs]]:
    def s3() -> S3Blobs:
        return s3_blobs(request.getfixturevalue("s3"), os.urandom(6).hex())

    return {
        "memory": MemoryBlobs,
        "disk": lambda: DiskBlobs(tmp_path / "blobs"),
        "s3": lambda: VerifyingBlobs(s3()),
        "verifying": lambda: VerifyingBlobs(MemoryBlobs()),
        "deduplicated": lambda: DeduplicatedBlobs(DiskBlobs(tmp_path / "blobs")),
        "fast+slow": lambda: FastSlowBlobs(DiskBlobs(tmp_path / "near"), MemoryBlobs()),
        "fast+slow s3": lambda: FastSlowBlobs(DiskBlobs(tmp_path / "near"), DeduplicatedBlobs(VerifyingBlobs(s3()))),
        "metered": lambda: MeteredBlobs(MemoryBlobs(), lambda operation, outcome, size: None),
    }


KINDS = ["memory", "disk", "s3", "verifying", "deduplicated", "fast+slow", "fast+slow s3", "metered"]


@pytest.fixture(params=KINDS)
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return makers(tmp_path, request)[request.param]()


async def pieces(data: bytes, size: int = 70_000) -> AsyncIterator[bytes]:
    for at in range(0, len(data), size):
        yield data[at : at + size]


async def read(blobs: Blobs, digest: Digest) -> bytes:
    async with blobs.open(digest) as reader:
        data = b"".join([chunk async for chunk in reader.chunks()])
        assert reader.size == len(data)
        return data


@pytest.mark.parametrize("data", [b"", b"hello", BIG], ids=["empty", "small", "big"])
async def test_what_was_put_is_read_back(blobs: Blobs, data: bytes) -> None:
    digest = await blobs.put(data)

    assert digest == sha256_digest(data)
    assert await read(blobs, digest) == data


async def test_a_stream_with_its_digest(blobs: Blobs) -> None:
    digest = await blobs.put(pieces(BIG), digest=sha256_digest(BIG))

    assert await read(blobs, digest) == BIG


async def test_sha512(blobs: Blobs) -> None:
    digest = Digest("sha512:" + hashlib.sha512(b"x").hexdigest())

    await blobs.put(b"x", digest=digest)

    assert await read(blobs, digest) == b"x"


async def test_putting_twice_changes_nothing(blobs: Blobs) -> None:
    first = await blobs.put(b"same")

    assert await blobs.put(b"same", digest=first) == first
    assert [found async for found in blobs.walk()] == [(first, 4)]


async def test_the_wrong_digest_is_refused_and_nothing_becomes_visible(blobs: Blobs) -> None:
    wrong = sha256_digest(b"other")

    with pytest.raises(InvalidInput, match=wrong):
        await blobs.put(pieces(BIG), digest=wrong)

    assert await blobs.find_missing([wrong, sha256_digest(BIG)]) == {wrong, sha256_digest(BIG)}
    assert [found async for found in blobs.walk()] == []


async def test_a_source_that_fails_leaves_nothing(blobs: Blobs) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"part"
        raise ConnectionResetError("the peer is gone")

    with pytest.raises(ConnectionResetError):
        await blobs.put(broken(), digest=sha256_digest(b"part and more"))

    assert [found async for found in blobs.walk()] == []


async def test_find_missing(blobs: Blobs) -> None:
    here, gone = await blobs.put(b"here"), sha256_digest(b"gone")

    assert await blobs.find_missing([here, gone]) == {gone}
    assert await blobs.find_missing([]) == frozenset()


async def test_opening_what_is_not_there(blobs: Blobs) -> None:
    gone = sha256_digest(b"gone")

    with pytest.raises(BlobMissing) as raised:
        async with blobs.open(gone):
            pass

    assert raised.value.digest == gone


@pytest.mark.parametrize("hostile", ["", "sha256:..", "sha256:../../etc/passwd", "md5:" + "0" * 32, "sha256:" + "A" * 64])
async def test_no_name_but_a_digest_reaches_the_store(blobs: Blobs, hostile: str) -> None:
    with pytest.raises(ValueError, match="invalid digest"):
        await blobs.find_missing([Digest(hostile)])


async def test_ranges(blobs: Blobs) -> None:
    digest = await blobs.put(BIG)

    async with blobs.open(digest) as reader:
        got = [await reader.read_at(0, 10), await reader.read_at(3_000_000, 100), await reader.read_at(len(BIG) - 5, 100)]
        past = await reader.read_at(len(BIG), 10)
        tail = b"".join([chunk async for chunk in reader.chunks(offset=3_000_000, chunk_size=1000)])

    assert got == [BIG[:10], BIG[3_000_000:3_000_100], BIG[-5:]]
    assert (past, tail) == (b"", BIG[3_000_000:])


@pytest.mark.parametrize("early", [False, True])
async def test_a_large_object_comes_in_ranges(s3: S3, monkeypatch: pytest.MonkeyPatch, early: bool) -> None:
    """In order, whole, from any place; who leaves early leaves nothing behind."""
    monkeypatch.setattr("shared.blobs.s3.LARGE", 1_000_000)
    monkeypatch.setattr("shared.blobs.s3.RANGE", 300_007)
    blobs = VerifyingBlobs(s3_blobs(s3, os.urandom(6).hex()))
    digest = await blobs.put(BIG)
    async with blobs.open(digest) as reader:
        source = reader.chunks(chunk_size=65_536)
        if early:
            assert await anext(source) == BIG[:65_536]
            return
        assert b"".join([chunk async for chunk in source]) == BIG
        assert b"".join([chunk async for chunk in reader.chunks(offset=700_001)]) == BIG[700_001:]


async def test_delete_is_idempotent(blobs: Blobs) -> None:
    digest = await blobs.put(b"x")

    assert (await blobs.delete(digest), await blobs.delete(digest)) == (True, False)
    assert await blobs.find_missing([digest]) == {digest}


@pytest.mark.parametrize("move", [False, True])
async def test_a_file(blobs: Blobs, tmp_path: Path, move: bool) -> None:
    path = tmp_path / "given"
    path.write_bytes(BIG)

    await blobs.put_file(path, digest=sha256_digest(BIG), move=move)

    assert await read(blobs, sha256_digest(BIG)) == BIG
    assert path.exists() is not move


async def test_a_local_path_has_exactly_the_bytes(blobs: Blobs) -> None:
    digest = await blobs.put(BIG)

    async with blobs.open(digest) as reader:
        path = reader.local_path()
        assert path is None or path.read_bytes() == BIG


# --- damage ------------------------------------------------------------------------------------------------------------------


def damage(folder: Path) -> None:
    """Other bytes in the only blob of a disk store."""
    (path,) = folder.glob("sha256/*/*")
    path.write_bytes(b"wrong!")


async def test_a_blob_damaged_on_disk_is_a_miss_for_the_next_process(tmp_path: Path) -> None:
    digest = await DiskBlobs(tmp_path).put(b"right")
    damage(tmp_path)
    later = DiskBlobs(tmp_path)

    with pytest.raises(BlobMissing):
        await read(later, digest)

    assert await later.find_missing([digest]) == {digest}


async def test_a_blob_damaged_behind_the_back_of_a_running_process_is_a_miss(tmp_path: Path) -> None:
    blobs = DiskBlobs(tmp_path)
    digest = await blobs.put(b"right")
    damage(tmp_path)

    with pytest.raises(BlobMissing):
        await read(blobs, digest)


async def test_a_blob_damaged_in_s3_is_a_miss_and_is_removed(s3: S3) -> None:
    prefix = os.urandom(6).hex()
    plain = s3_blobs(s3, prefix)
    digest = await plain.put(b"right")
    other = await plain.put(b"wrong")
    client = await plain._client()
    from minio.commonconfig import CopySource

    await plain.do(digest, client.copy_object, s3.bucket, plain._name(digest), CopySource(s3.bucket, plain._name(other)))

    with pytest.raises(BlobMissing):
        await read(VerifyingBlobs(plain), digest)

    assert await plain.find_missing([digest]) == {digest}


async def test_wrong_bytes_never_pass_the_verifying_wrapper() -> None:
    inner = MemoryBlobs()
    digest, other = await inner.put(BIG), await inner.put(b"other")
    blobs = VerifyingBlobs(_Renamed(inner, digest, other))

    with pytest.raises(BlobMissing):
        await read(blobs, digest)


class _Renamed(VerifyingBlobs):
    """A store that gives the bytes of one blob for another."""

    def __init__(self, inner: Blobs, asked: Digest, given: Digest) -> None:
        super().__init__(inner)
        self._names = {asked: given}

    def open(self, digest: Digest):  # type: ignore[no-untyped-def]
        return self._inner.open(self._names.get(digest, digest))


async def test_a_near_copy_that_is_damaged_is_fetched_again(tmp_path: Path) -> None:
    far = MemoryBlobs()
    digest = await far.put(b"right")
    first = FastSlowBlobs(DiskBlobs(tmp_path), far)
    assert await read(first, digest) == b"right"
    damage(tmp_path)

    assert await read(FastSlowBlobs(DiskBlobs(tmp_path), far), digest) == b"right"


async def test_stale_uploads_are_cleaned(tmp_path: Path) -> None:
    blobs = DiskBlobs(tmp_path)
    left = tmp_path / "ingest" / "left"
    left.write_bytes(b"x")
    os.utime(left, (0, 0))

    assert (await blobs.clean(older_than=3600), left.exists()) == (1, False)


async def test_a_bucket_is_made_by_whoever_comes_first(s3: S3) -> None:
    """Services start together on an empty server; each finds the bucket there."""
    bucket = f"made-{os.urandom(4).hex()}"
    settings = S3Settings.parse(urlsplit(f"s3://{s3.endpoint}/{bucket}"), {}, s3.environment)

    async with asyncio.TaskGroup() as tasks:
        found = [tasks.create_task(S3Blobs(settings).find_missing([sha256_digest(b"x")])) for _ in range(6)]

    assert {task.result() for task in found} == {frozenset({sha256_digest(b"x")})}


async def test_who_has_no_key_is_told_where_it_is_looked_for(s3: S3) -> None:
    """«Access denied» alone leaves open whether a key was found at all. A wrong key is another matter."""
    keyless = S3Settings(endpoint=s3.endpoint, bucket=s3.bucket, access_key="", secret_key="")
    with pytest.raises(Unavailable, match=r"AccessDenied.*no key was given: AWS_ACCESS_KEY_ID"):
        await S3Blobs(keyless).find_missing([sha256_digest(b"")])
    with pytest.raises(Unavailable) as caught:
        await S3Blobs(replace(keyless, access_key="x", secret_key="y")).find_missing([sha256_digest(b"")])
    assert "no key" not in caught.value.message


async def test_a_store_that_is_away_says_so_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as a group, which nobody who waits for the store would catch."""

    async def away(store: S3Blobs, digest: Digest) -> int:
        raise Unavailable("the store is starting")

    monkeypatch.setattr(S3Blobs, "_size", away)
    store = S3Blobs(S3Settings(endpoint="127.0.0.1:1", bucket="b", access_key="k", secret_key="s"))
    with pytest.raises(Unavailable):
        await store.find_missing([sha256_digest(b"one"), sha256_digest(b"two")])
