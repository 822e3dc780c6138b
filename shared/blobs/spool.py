"""Takes in a stream of chunks: into a temporary file, hashing on the way, in few and large steps outside of the loop."""

import hashlib
import os
from collections.abc import AsyncIterator
from pathlib import Path

from shared.blobs.threads import Pool
from shared.errors import InvalidInput
from shared.model import Digest

STEP = 1 << 20  # bytes that are collected before a thread is asked to write them


class Spool:
    """A temporary file that grows and knows its digest. Removed by `discard` unless it was renamed away."""

    def __init__(self, folder: Path, pool: Pool, algorithm: str = "sha256") -> None:
        self.path = folder / os.urandom(12).hex()
        self._pool = pool
        self._algorithm = algorithm
        self._hash = hashlib.new(algorithm)
        self._fd = -1
        self.size = 0

    async def fill(self, chunks: AsyncIterator[bytes] | bytes) -> None:
        """Write everything."""
        self._fd = await self._pool.do(os.open, self.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        if isinstance(chunks, bytes):
            await self._pool.do(self._write, [chunks])
            return
        waiting: list[bytes] = []
        size = 0
        async for chunk in chunks:
            waiting.append(chunk)
            size += len(chunk)
            if size >= STEP:
                await self._pool.do(self._write, waiting)
                waiting, size = [], 0
        if waiting:
            await self._pool.do(self._write, waiting)

    def _write(self, chunks: list[bytes]) -> None:
        for chunk in chunks:
            self._hash.update(chunk)
            self.size += len(chunk)
            view = memoryview(chunk)
            while view:
                view = view[os.write(self._fd, view) :]

    def check(self, want: Digest | None) -> Digest:
        """The digest of what was written. Raises InvalidInput when it is not `want`."""
        found = Digest(f"{self._algorithm}:{self._hash.hexdigest()}")
        if want is not None and found != want:
            raise InvalidInput(f"blob {want}: the bytes have digest {found}")
        return found

    def close(self) -> None:
        """Close the file; the path stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def discard(self) -> None:
        """Close and remove what is left."""
        self.close()
        self.path.unlink(missing_ok=True)
