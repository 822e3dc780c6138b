"""The blob store port. Blobs are immutable; a blob is visible only when it is complete and its digest has been checked."""

from collections.abc import AsyncIterator, Collection
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Protocol

from shared.model import Digest


class BlobReader(Protocol):
    """An open blob. `size` in bytes."""

    @property
    def size(self) -> int: ...

    async def read_at(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; empty at the end."""
        ...

    def chunks(self, *, offset: int = 0, chunk_size: int = 1 << 20) -> AsyncIterator[bytes]:
        """All bytes from `offset` in order."""
        ...

    def local_path(self) -> Path | None:
        """A readable file with exactly these bytes when the store has one (sendfile, mmap, C readers), else None."""
        ...


class Blobs(Protocol):
    """Any blob store. Every implementation passes tests/contracts/blobs.py."""

    async def find_missing(self, digests: Collection[Digest]) -> frozenset[Digest]:
        """Those of `digests` that are not here."""
        ...

    def open(self, digest: Digest) -> AbstractAsyncContextManager[BlobReader]:
        """Raises BlobMissing when absent or not intact."""
        ...

    async def put(self, chunks: AsyncIterator[bytes] | bytes, *, digest: Digest | None = None) -> Digest:
        """Store; idempotent. With `digest`: InvalidInput when the bytes do not match, and nothing becomes visible."""
        ...

    async def put_file(self, path: Path, *, digest: Digest, move: bool = False) -> None:
        """Store a local file whose digest the caller has computed while writing it; with `move` the file may be renamed into the store."""
        ...

    async def delete(self, digest: Digest) -> bool:
        """True if it was there. Idempotent."""
        ...

    def walk(self) -> AsyncIterator[tuple[Digest, int]]:
        """Every blob with its size, in no particular order."""
        ...
