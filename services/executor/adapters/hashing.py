"""ContentHash: the digest of the selected content of a ref."""

import asyncio

from services.executor.adapters.content_hash import ContentHashes, hash_of_scratch
from services.executor.adapters.materialise import Materialise
from services.executor.adapters.reporter import reporting
from services.executor.core.selection import Selection
from services.executor.ports import SnapshotStore
from shared.blobs.threads import Pool
from shared.bus.calls import Served
from shared.model import Digest
from shared.wire.messages import ContentHash, ContentHashed, HashSelector

SAVE_SECONDS = 5.0
_NO_VERTEX = Digest("sha256:" + "0" * 64)


class Hashing:
    """Handler of ContentHash. Lazy refs are brought here first."""

    def __init__(self, *, materialise: Materialise, store: SnapshotStore, hashes: ContentHashes, threads: Pool) -> None:
        self._materialise, self._store, self._hashes, self._threads = materialise, store, hashes, threads

    async def hash(self, request: ContentHash, served: Served) -> ContentHashed:
        """Raises NotFound naming the path, RefLost."""
        selections = tuple(_selection(s) for s in request.selectors)
        if request.ref is None:
            return ContentHashed(digest=hash_of_scratch(selections))
        async with reporting(served, request.vertex or _NO_VERTEX) as report:
            id = await self._materialise.one(request.ref, request.scope, report)
        return ContentHashed(digest=await self._threads.do(self._hashes.hash, id, lambda: self._store.mount(id), selections))

    async def keep(self) -> None:
        """Write digests that are new to their files, until cancelled, and then once more."""
        try:
            while True:
                await asyncio.sleep(SAVE_SECONDS)
                await self._threads.do(self._hashes.save)
        finally:
            self._hashes.save()


def _selection(selector: HashSelector) -> Selection:
    return Selection(
        path=selector.path,
        wildcard=selector.wildcard,
        follow_links=selector.follow_links,
        include_patterns=selector.include_patterns,
        exclude_patterns=selector.exclude_patterns,
        required_paths=selector.required_paths,
    )
