"""Wrappers: each takes stores and is one. They are put together where a Mesh is built, nowhere else."""

import hashlib
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from shared.blobs.ports import BlobReader, Blobs
from shared.errors import BlobMissing, BuildmeshError, Exhausted
from shared.model import Digest

Meter = Callable[[str, str, int], None]
"""(operation, outcome, bytes) is told after each operation."""


class _Checked:
    """Hashes what is read from the start in order; the last chunk is withheld until the whole was right."""

    def __init__(self, inner: BlobReader, digest: Digest) -> None:
        self._inner, self._digest = inner, digest

    @property
    def size(self) -> int:
        return self._inner.size

    async def read_at(self, offset: int, length: int) -> bytes:
        return await self._inner.read_at(offset, length)

    async def chunks(self, *, offset: int = 0, chunk_size: int = 1 << 20) -> AsyncIterator[bytes]:
        if offset:  # a part can't be checked by the digest of the whole
            async for chunk in self._inner.chunks(offset=offset, chunk_size=chunk_size):
                yield chunk
            return
        algorithm, _, want = self._digest.partition(":")
        hasher = hashlib.new(algorithm)
        held = b""
        async for chunk in self._inner.chunks(chunk_size=chunk_size):
            if held:
                yield held
            hasher.update(chunk)
            held = chunk
        if hasher.hexdigest() != want:
            raise BlobMissing(self._digest, f"blob {self._digest} is damaged")
        if held:
            yield held

    def local_path(self) -> Path | None:
        return self._inner.local_path()


class VerifyingBlobs:
    """For stores that don't verify what they return (S3): whole reads are checked on the fly, a damaged blob is deleted."""

    def __init__(self, inner: Blobs) -> None:
        self._inner = inner

    async def find_missing(self, digests: Collection[Digest]) -> frozenset[Digest]:
        return await self._inner.find_missing(digests)

    @asynccontextmanager
    async def open(self, digest: Digest) -> AsyncIterator[BlobReader]:
        async with self._inner.open(digest) as reader:
            try:
                yield _Checked(reader, digest)
            except BlobMissing as error:
                if error.digest == digest:
                    await self._inner.delete(digest)
                raise

    async def put(self, chunks: AsyncIterator[bytes] | bytes, *, digest: Digest | None = None) -> Digest:
        return await self._inner.put(chunks, digest=digest)

    async def put_file(self, path: Path, *, digest: Digest, move: bool = False) -> None:
        await self._inner.put_file(path, digest=digest, move=move)

    async def delete(self, digest: Digest) -> bool:
        return await self._inner.delete(digest)

    def walk(self) -> AsyncIterator[tuple[Digest, int]]:
        return self._inner.walk()


class DeduplicatedBlobs(VerifyingBlobs):
    """Doesn't send what is there already, when the digest is known beforehand."""

    @asynccontextmanager
    async def open(self, digest: Digest) -> AsyncIterator[BlobReader]:
        async with self._inner.open(digest) as reader:
            yield reader

    async def put(self, chunks: AsyncIterator[bytes] | bytes, *, digest: Digest | None = None) -> Digest:
        if digest is not None and not await self._inner.find_missing([digest]):
            return digest
        return await self._inner.put(chunks, digest=digest)

    async def put_file(self, path: Path, *, digest: Digest, move: bool = False) -> None:
        if not await self._inner.find_missing([digest]):
            if move:
                path.unlink(missing_ok=True)  # noqa: ASYNC240 (one quick system call)
            return
        await self._inner.put_file(path, digest=digest, move=move)


class FastSlowBlobs:
    """A near store in front of a far one: reads fill the near one, writes go to both (the far one first: it is the truth)."""

    def __init__(self, fast: Blobs, slow: Blobs) -> None:
        self._fast, self._slow = fast, slow

    async def find_missing(self, digests: Collection[Digest]) -> frozenset[Digest]:
        return await self._slow.find_missing(digests)

    @asynccontextmanager
    async def open(self, digest: Digest) -> AsyncIterator[BlobReader]:
        if await self._fast.find_missing([digest]):
            await self._fill(digest)
        try:
            async with self._fast.open(digest) as near:
                yield near
                return
        except BlobMissing as error:
            if error.digest != digest:
                raise
        async with self._slow.open(digest) as far:
            yield far

    async def _fill(self, digest: Digest) -> None:
        async with self._slow.open(digest) as far:
            try:
                await self._fast.put(far.chunks(), digest=digest)
            except Exhausted:
                return  # a full cache disk slows down, it doesn't fail

    async def put(self, chunks: AsyncIterator[bytes] | bytes, *, digest: Digest | None = None) -> Digest:
        stored = await self._fast.put(chunks, digest=digest)
        await self._send(stored)
        return stored

    async def put_file(self, path: Path, *, digest: Digest, move: bool = False) -> None:
        await self._slow.put_file(path, digest=digest)
        await self._fast.put_file(path, digest=digest, move=move)

    async def _send(self, digest: Digest) -> None:
        if not await self._slow.find_missing([digest]):
            return
        async with self._fast.open(digest) as near:
            local = near.local_path()
            if local is not None:
                await self._slow.put_file(local, digest=digest)
            else:
                await self._slow.put(near.chunks(), digest=digest)

    async def delete(self, digest: Digest) -> bool:
        await self._fast.delete(digest)
        return await self._slow.delete(digest)

    def walk(self) -> AsyncIterator[tuple[Digest, int]]:
        return self._slow.walk()


class MeteredBlobs:
    """Tells a meter how often and how much."""

    def __init__(self, inner: Blobs, meter: Meter) -> None:
        self._inner, self._meter = inner, meter

    async def find_missing(self, digests: Collection[Digest]) -> frozenset[Digest]:
        missing = await self._inner.find_missing(digests)
        self._meter("find_missing", "ok", 0)
        return missing

    @asynccontextmanager
    async def open(self, digest: Digest) -> AsyncIterator[BlobReader]:
        try:
            async with self._inner.open(digest) as reader:
                self._meter("open", "ok", reader.size)
                yield reader
        except BlobMissing:
            self._meter("open", "missing", 0)
            raise

    async def put(self, chunks: AsyncIterator[bytes] | bytes, *, digest: Digest | None = None) -> Digest:
        counted = 0

        async def counting() -> AsyncIterator[bytes]:
            nonlocal counted
            async for chunk in _iterated(chunks):
                counted += len(chunk)
                yield chunk

        try:
            stored = await self._inner.put(counting(), digest=digest)
        except BuildmeshError as error:
            self._meter("put", type(error).__name__, counted)
            raise
        self._meter("put", "ok", counted)
        return stored

    async def put_file(self, path: Path, *, digest: Digest, move: bool = False) -> None:
        size = path.stat().st_size  # noqa: ASYNC240 (one quick system call)
        await self._inner.put_file(path, digest=digest, move=move)
        self._meter("put", "ok", size)

    async def delete(self, digest: Digest) -> bool:
        deleted = await self._inner.delete(digest)
        self._meter("delete", "ok", 0)
        return deleted

    def walk(self) -> AsyncIterator[tuple[Digest, int]]:
        return self._inner.walk()


async def _iterated(chunks: AsyncIterator[bytes] | bytes) -> AsyncIterator[bytes]:
    if isinstance(chunks, bytes):
        yield chunks
        return
    async for chunk in chunks:
        yield chunk
