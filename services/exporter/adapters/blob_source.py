"""BlobSource over the blob store."""

from collections.abc import AsyncIterator, Sequence

from services.exporter.core.image import Document
from shared.blobs.ports import Blobs
from shared.model import Digest

_CHUNK = 1 << 20


class StoreBlobs:
    """Reads and keeps blobs in the fleet's store."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    async def keep(self, documents: Sequence[Document]) -> None:
        """Store small documents; idempotent."""
        for document in documents:
            await self._blobs.put(document.data, digest=document.digest)

    async def chunks(self, digest: Digest) -> AsyncIterator[bytes]:
        """All bytes of a blob in order. Raises BlobMissing."""
        async with self._blobs.open(digest) as reader:
            async for chunk in reader.chunks(chunk_size=_CHUNK):
                yield chunk
