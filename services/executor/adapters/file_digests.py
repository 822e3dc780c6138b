"""FileDigests: what the regular files of a tree are, for statements about them (exporter/local/fs.go)."""

import hashlib
import os

from services.executor.adapters.materialise import Materialise
from services.executor.adapters.reporter import reporting
from services.executor.ports import SnapshotStore
from shared.blobs.threads import Pool
from shared.bus.calls import Served
from shared.errors import BuildFailed
from shared.fsutil.mode import is_regular
from shared.model import Digest
from shared.session.tree_reader import open_file, walk
from shared.wire.messages import FileDigests, FilesDigested

_PIECE = 1 << 20


class TreeDigests:
    """Handler of FileDigests."""

    def __init__(self, *, materialise: Materialise, store: SnapshotStore, threads: Pool) -> None:
        self._materialise, self._store, self._threads = materialise, store, threads

    async def digest(self, request: FileDigests, served: Served) -> FilesDigested:
        """Every regular file by its path. Raises RefLost."""
        async with reporting(served, request.vertex) as report:
            id = await self._materialise.one(request.ref, request.scope, report)
            return FilesDigested(digests=await self._threads.do(self._digests, id))

    def _digests(self, id: str) -> dict[str, Digest]:
        with self._store.mount(id) as root:
            return {stat.path: _digest(root, stat.path) for stat in walk(root) if is_regular(stat.mode)}


def _digest(root: str, path: str) -> Digest:
    descriptor = open_file(root, path)
    if descriptor is None:
        raise BuildFailed(f"open {path[:200]}: the file is gone")
    digest = hashlib.sha256()
    try:
        while chunk := os.read(descriptor, _PIECE):
            digest.update(chunk)
    finally:
        os.close(descriptor)
    return Digest("sha256:" + digest.hexdigest())
