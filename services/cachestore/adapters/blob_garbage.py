"""Removes blobs that no snapshot, result, cache mount, build record or running build needs."""

from collections.abc import Callable

from services.cachestore.adapters.kept_mounts import KeptMounts
from services.cachestore.core.blob_sweep import BlobSweep
from services.cachestore.core.key_graph import KeyGraph
from services.cachestore.ports import Holders
from shared.blobs.ports import Blobs
from shared.bus.ports import KeyValue
from shared.model import Digest


class BlobGarbage:
    """`builds_running` tells whether any build holds a lease now; `pins` is the bucket of blobs that others keep."""

    def __init__(
        self,
        *,
        blobs: Blobs,
        graph: KeyGraph,
        holders: Holders,
        pins: KeyValue,
        mounts: KeptMounts,
        sweep: BlobSweep,
        builds_running: Callable[[], bool],
    ) -> None:
        self._blobs, self._graph, self._holders, self._pins = blobs, graph, holders, pins
        self._mounts, self._sweep, self._builds_running = mounts, sweep, builds_running

    async def collect(self) -> int:
        """One sweep; returns the bytes freed. What is needed again later is fetched or made again."""
        sizes = {digest: size async for digest, size in self._blobs.walk()}
        live = await self._live()
        doomed = self._sweep.doomed(sizes, live, builds_running=self._builds_running())
        freed = 0
        for digest in doomed:
            if self._builds_running():
                break
            if await self._blobs.delete(digest):
                freed += sizes[digest]
        return freed

    async def _live(self) -> set[Digest]:
        live: set[Digest] = set()
        for holding in await self._holders.holdings():
            for record in holding.records:
                live.update(Digest(d) for d in record.blobs)
        for ref in self._graph.refs().values():
            # a layer that names its source can be pulled again
            live.update(layer.digest for layer in (ref.layers if ref is not None else ()) if not layer.source)
        for entry in await self._pins.entries():
            live.update(Digest(line) for line in entry.value.decode(errors="replace").split())
        return live | await self._mounts.live()
