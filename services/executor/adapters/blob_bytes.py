"""A blob as an iterator for code that runs in a thread; one from a far store is copied to this disk first."""

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from shared.blobs.ports import Blobs
from shared.blobs.threads import Pool
from shared.model import Digest

_CHUNK = 1 << 20


@asynccontextmanager
async def blob_bytes(blobs: Blobs, digest: Digest, threads: Pool) -> AsyncIterator[Iterator[bytes]]:
    """Valid within the context. Raises BlobMissing."""
    async with blobs.open(digest) as reader:
        path = reader.local_path()
        if path is not None:
            yield _file_bytes(path)
            return
        with tempfile.TemporaryFile(prefix="layer-") as copy:  # layers can be larger than memory
            async for chunk in reader.chunks():
                await threads.finish(copy.write, chunk)
            copy.seek(0)
            yield iter(partial(copy.read, _CHUNK), b"")


def _file_bytes(path: Path) -> Iterator[bytes]:
    """Opened by the thread that reads: it may go on after its waiter is cancelled."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
