"""Removes blobs that no snapshot, result, cache mount, build record or running build needs, and large messages that nobody waits for."""

from collections.abc import Awaitable, Callable

from services.cachestore.adapters.kept_mounts import KeptMounts
from services.cachestore.core.blob_sweep import BlobSweep
from services.cachestore.core.key_graph import KeyGraph
from services.cachestore.ports import Holders
from shared.blobs.ports import Blobs
from shared.bus.ports import KeyValue
from shared.model import Digest


class BlobGarbage:
    """`builds_running` tells whether any build holds a lease now; `pins` is the bucket of blobs that others keep.

    `claims`: the store of large messages, perhaps `blobs` itself. `patient`: see BlobSweep.
    """

    def __init__(
        self,
        *,
        blobs: Blobs,
        claims: Blobs,
        graph: KeyGraph,
        holders: Holders,
        pins: KeyValue,
        mounts: KeptMounts,
        patient: bool,
        builds_running: Callable[[], bool],
    ) -> None:
        self._blobs, self._claims, self._graph, self._holders, self._pins = blobs, claims, graph, holders, pins
        self._mounts, self._builds_running = mounts, builds_running
        self._sweep, self._sweep_of_claims = BlobSweep(patient=patient), BlobSweep(patient=patient)

    async def collect(self) -> int:
        """One sweep; returns the bytes freed. What is needed again later is fetched or made again."""
        freed = await self._collect(self._blobs, self._sweep, self._live)
        return freed if self._claims is self._blobs else freed + await self._collect(self._claims, self._sweep_of_claims, _nothing)

    async def _collect(self, store: Blobs, sweep: BlobSweep, live: Callable[[], Awaitable[set[Digest]]]) -> int:
        sizes = {digest: size async for digest, size in store.walk()}
        doomed = sweep.doomed(sizes, await live(), builds_running=self._builds_running())
        freed = 0
        for digest in doomed:
            if self._builds_running():
                break
            if await store.delete(digest):
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


async def _nothing() -> set[Digest]:
    return set()
