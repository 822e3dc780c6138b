"""`file://`: one file per blob below `<root>/<algorithm>/<first two digits>/<digits>`, renamed into place when complete.

Nothing is fsynced: a blob that a power cut tore is found out when it is first opened afterwards, and then it is a miss. (The first
open of a blob that this process didn't write itself hashes it, at 1.6 GB/s; later ones compare size, mtime and inode.)
"""

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path

from shared.blobs.ports import BlobReader
from shared.blobs.spool import Spool
from shared.blobs.threads import Pool
from shared.errors import BlobMissing, Exhausted, InvalidInput
from shared.model import Digest, is_digest, parse_digest

Stamp = tuple[int, int, int]
NO_SPACE = {28, 122}  # ENOSPC, EDQUOT


class DiskReader:
    """An open file; stays readable when the blob is deleted meanwhile."""

    def __init__(self, fd: int, size: int, path: Path, pool: Pool) -> None:
        self._fd, self._size, self._path, self._pool = fd, size, path, pool

    @property
    def size(self) -> int:
        return self._size

    async def read_at(self, offset: int, length: int) -> bytes:
        return await self._pool.do(os.pread, self._fd, max(length, 0), offset)

    async def chunks(self, *, offset: int = 0, chunk_size: int = 1 << 20) -> AsyncIterator[bytes]:
        while chunk := await self._pool.do(os.pread, self._fd, chunk_size, offset):
            offset += len(chunk)
            yield chunk

    def local_path(self) -> Path | None:
        return self._path


class DiskBlobs:
    """See shared.blobs.ports.Blobs. Several processes may share a root."""

    def __init__(self, root: Path, *, pool: Pool | None = None) -> None:
        self._root = root
        self._ingest = root / "ingest"
        self._ingest.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._pool = pool or Pool("blobs", 4)
        self._good: dict[Digest, Stamp] = {}

    def _path(self, digest: Digest) -> Path:
        algorithm, _, digits = parse_digest(digest).partition(":")
        return self._root / algorithm / digits[:2] / digits

    async def find_missing(self, digests: Collection[Digest]) -> frozenset[Digest]:
        paths = {digest: self._path(digest) for digest in digests}
        return await self._pool.do(lambda: frozenset(d for d, path in paths.items() if not path.exists()))

    @asynccontextmanager
    async def open(self, digest: Digest) -> AsyncIterator[BlobReader]:
        path = self._path(digest)
        fd, size = await self._pool.do(self._open_checked, digest, path)
        try:
            yield DiskReader(fd, size, path, self._pool)
        finally:
            os.close(fd)

    def _open_checked(self, digest: Digest, path: Path) -> tuple[int, int]:
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            raise BlobMissing(digest) from None
        stamp = _stamp(os.fstat(fd))
        if self._good.get(digest) != stamp:
            if not _intact(fd, digest):
                os.close(fd)
                path.unlink(missing_ok=True)
                raise BlobMissing(digest, f"blob {digest} was damaged and has been removed")
            self._good[digest] = stamp
        return fd, stamp[0]

    async def put(self, chunks: AsyncIterator[bytes] | bytes, *, digest: Digest | None = None) -> Digest:
        algorithm = "sha256" if digest is None else parse_digest(digest).partition(":")[0]
        spool = Spool(self._ingest, self._pool, algorithm)
        try:
            await spool.fill(chunks)
            found = spool.check(digest)
            await self._pool.do(self._commit, spool, found)
            return found
        except OSError as error:
            raise _explained(error) from error
        finally:
            await asyncio.shield(self._pool.do(spool.discard))

    def _commit(self, spool: Spool, digest: Digest) -> None:
        spool.close()
        path = self._path(digest)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        self._good[digest] = _stamp(spool.path.stat())
        os.rename(spool.path, path)

    async def put_file(self, path: Path, *, digest: Digest, move: bool = False) -> None:
        try:
            await self._pool.do(self._take_file, path, self._path(digest), move)
        except OSError as error:
            raise _explained(error) from error

    def _take_file(self, source: Path, target: Path, move: bool) -> None:
        if target.exists():
            if move:
                source.unlink(missing_ok=True)
            return
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
        if move:
            try:
                os.rename(source, target)
                return
            except OSError:
                pass  # another file system
        temporary = self._ingest / os.urandom(12).hex()
        try:
            shutil.copyfile(source, temporary)
            os.rename(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        if move:
            source.unlink(missing_ok=True)

    async def delete(self, digest: Digest) -> bool:
        path = self._path(digest)
        self._good.pop(digest, None)
        try:
            await self._pool.do(os.unlink, path)
        except FileNotFoundError:
            return False
        return True

    async def walk(self) -> AsyncIterator[tuple[Digest, int]]:
        for folder in await self._pool.do(lambda: sorted(self._root.glob("sha*/??"))):
            for found in await self._pool.do(_listed, folder):
                yield found

    async def clean(self, *, older_than: float) -> int:
        """Remove uploads that broke off and have not grown for so many seconds; returns how many."""
        return await self._pool.do(_remove_stale, self._ingest, older_than)

    async def close(self) -> None:
        """Release the threads."""
        self._pool.close()


def _stamp(stat: os.stat_result) -> Stamp:
    return stat.st_size, stat.st_mtime_ns, stat.st_ino


def _intact(fd: int, digest: Digest) -> bool:
    algorithm, _, want = digest.partition(":")
    hasher = hashlib.new(algorithm)
    at = 0
    while chunk := os.pread(fd, 1 << 20, at):
        hasher.update(chunk)
        at += len(chunk)
    return hasher.hexdigest() == want


def _listed(folder: Path) -> list[tuple[Digest, int]]:
    algorithm = folder.parent.name
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = f"{algorithm}:{entry.name}"
            if is_digest(name):
                found.append((Digest(name), entry.stat().st_size))
    return found


def _remove_stale(folder: Path, older_than: float) -> int:
    horizon = time.time() - older_than
    stale = [entry for entry in folder.iterdir() if entry.stat().st_mtime < horizon]
    for entry in stale:
        entry.unlink(missing_ok=True)
    return len(stale)


def _explained(error: OSError) -> Exception:
    if error.errno in NO_SPACE:
        return Exhausted(f"no space left for blobs: {error}")
    return InvalidInput(f"can't store a blob: {error}") if isinstance(error, FileNotFoundError) else error
