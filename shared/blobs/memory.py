"""`memory:`: blobs in a dict; for tests. It passes the same contract suite as the real stores."""

import hashlib
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from shared.blobs.ports import BlobReader
from shared.errors import BlobMissing, InvalidInput
from shared.model import Digest, parse_digest, sha256_digest


class MemoryReader:
    """An open blob that is one bytes object."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    async def read_at(self, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]

    async def chunks(self, *, offset: int = 0, chunk_size: int = 1 << 20) -> AsyncIterator[bytes]:
        for at in range(offset, len(self._data), chunk_size):
            yield self._data[at : at + chunk_size]

    def local_path(self) -> Path | None:
        return None


class MemoryBlobs:
    """See shared.blobs.ports.Blobs. `corrupt` lets a test damage what is stored."""

    def __init__(self) -> None:
        self._blobs: dict[Digest, bytes] = {}

    async def find_missing(self, digests: Collection[Digest]) -> frozenset[Digest]:
        return frozenset(parse_digest(d) for d in digests if d not in self._blobs)

    @asynccontextmanager
    async def open(self, digest: Digest) -> AsyncIterator[BlobReader]:
        data = self._blobs.get(parse_digest(digest))
        if data is None or not matches(data, digest):
            raise BlobMissing(digest)
        yield MemoryReader(data)

    async def put(self, chunks: AsyncIterator[bytes] | bytes, *, digest: Digest | None = None) -> Digest:
        data = chunks if isinstance(chunks, bytes) else b"".join([chunk async for chunk in chunks])
        if digest is not None and not matches(data, parse_digest(digest)):
            raise InvalidInput(f"blob {digest}: the bytes have another digest")
        digest = digest or sha256_digest(data)
        self._blobs[digest] = data
        return digest

    async def put_file(self, path: Path, *, digest: Digest, move: bool = False) -> None:
        self._blobs[parse_digest(digest)] = path.read_bytes()  # noqa: ASYNC240 (a fake, small files)
        if move:
            path.unlink()  # noqa: ASYNC240

    async def delete(self, digest: Digest) -> bool:
        return self._blobs.pop(parse_digest(digest), None) is not None

    async def walk(self) -> AsyncIterator[tuple[Digest, int]]:
        for digest, data in list(self._blobs.items()):
            yield digest, len(data)

    def corrupt(self, digest: Digest, data: bytes) -> None:
        """Replace the stored bytes."""
        self._blobs[digest] = data

    async def close(self) -> None:
        self._blobs.clear()


def matches(data: bytes, digest: Digest) -> bool:
    """Whether `data` has this digest, of whatever algorithm."""
    algorithm, _, want = digest.partition(":")
    return hashlib.new(algorithm, data).hexdigest() == want
