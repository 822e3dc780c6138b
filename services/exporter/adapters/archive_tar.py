"""Image archives as a tar stream: headers here, blobs straight from the store."""

import tarfile
from collections.abc import AsyncIterator, Sequence

from services.exporter.core.archive import Entry
from services.exporter.ports import BlobSource
from shared.errors import BlobMissing

_BLOCK = 512


async def archive_chunks(entries: Sequence[Entry], blobs: BlobSource) -> AsyncIterator[bytes]:
    """The whole archive. Raises BlobMissing when a blob is gone or has another size than announced."""
    for entry in entries:
        yield _header(entry)
        if entry.data is not None:
            yield entry.data
        elif entry.digest is not None:
            sent = 0
            async for chunk in blobs.chunks(entry.digest):
                sent += len(chunk)
                yield chunk
            if sent != entry.size:
                raise BlobMissing(entry.digest, f"blob {entry.digest} has {sent} bytes, not {entry.size}")
        if padding := -entry.size % _BLOCK:
            yield bytes(padding)
    yield bytes(2 * _BLOCK)


def _header(entry: Entry) -> bytes:
    info = tarfile.TarInfo(entry.name.rstrip("/"))
    info.type = tarfile.DIRTYPE if entry.directory else tarfile.REGTYPE
    info.mode = entry.mode
    info.size = entry.size
    return info.tobuf(format=tarfile.PAX_FORMAT)
