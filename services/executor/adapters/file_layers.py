"""FileLayers: which layer of an image a file comes from, for SBOMs (exporter/containerimage/attestations.go)."""

import posixpath
from collections.abc import Iterator

from services.executor.adapters.blob_bytes import blob_bytes
from services.executor.adapters.layer_compression import decompress
from services.executor.adapters.reporter import reporting
from services.executor.adapters.sources.layer_fetch import LayerFetch
from shared.blobs.ports import Blobs
from shared.blobs.threads import Pool
from shared.bus.calls import Served
from shared.errors import InvalidInput
from shared.model import Digest
from shared.oci import WHITEOUT_PREFIX
from shared.oci.tar_parse import TarError, TarReader
from shared.wire.messages import FileLayers, FileLayersFound


class LayersOfFiles:
    """Handler of FileLayers."""

    def __init__(self, *, fetch: LayerFetch, blobs: Blobs, threads: Pool) -> None:
        self._fetch, self._blobs, self._threads = fetch, blobs, threads

    async def find(self, request: FileLayers, served: Served) -> FileLayersFound:
        """The topmost layer that has a file, deleted files included; layers below the last one that is needed are not read.

        Raises BlobMissing, and InvalidInput for a layer that is no archive.
        """
        wanted = {path: _absolute(path) for path in request.paths}
        found: dict[str, Digest] = {}
        async with reporting(served, request.vertex) as report:
            for layer in reversed(request.layers):
                if not wanted:
                    break
                await self._fetch.ensure(layer, request.scope, report)
                async with blob_bytes(self._blobs, layer.digest, self._threads) as chunks:
                    names = await self._threads.finish(_names_among, chunks, frozenset(wanted.values()))
                here = [path for path, name in wanted.items() if name in names]
                found |= dict.fromkeys(here, layer.digest)
                for path in here:
                    del wanted[path]
        return FileLayersFound(layers=found)


def _absolute(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))


def _names_among(chunks: Iterator[bytes], wanted: frozenset[str]) -> set[str]:
    found = set()
    try:
        for member in TarReader(decompress(chunks)):
            name = _absolute(member.name.decode("utf-8", "surrogateescape"))
            if name in wanted and not posixpath.basename(name).startswith(WHITEOUT_PREFIX):
                found.add(name)
    except TarError as error:
        raise InvalidInput(str(error)) from None
    return found
