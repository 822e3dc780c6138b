"""Refs → snapshots on this executor: found, or rebuilt from layers (lazy images, refs of other executors)."""

import asyncio
from collections.abc import Sequence

from services.executor.adapters.layer_chains import LayerChains
from services.executor.adapters.sources.layer_fetch import LayerFetch
from services.executor.ports import Reporter, SnapshotStore
from shared.blobs.ports import Blobs
from shared.blobs.threads import Pool
from shared.bus.calls import Calls
from shared.errors import BlobMissing, BuildmeshError, CallLost, RefLost, first_failure
from shared.model import Layer, Ref
from shared.oci import chain_ids
from shared.run.flight import Flight
from shared.wire import subjects
from shared.wire.messages import Compression, LayersFound, LayersOf, Pack, Packed, Scope


class Materialise:
    """`home` is this executor's id."""

    def __init__(
        self,
        *,
        home: str,
        store: SnapshotStore,
        blobs: Blobs,
        fetch: LayerFetch,
        calls: Calls,
        threads: Pool,
        flight: Flight[str],
    ) -> None:
        self._home, self._store, self._calls, self._flight = home, store, calls, flight
        self._chains = LayerChains(store=store, blobs=blobs, fetch=fetch, threads=threads)

    async def all(self, refs: Sequence[Ref | None], scope: Scope, report: Reporter) -> tuple[str | None, ...]:
        """Snapshot ids, held under the scope's lease. Raises RefLost naming the first that can't be had."""
        found: list[str | None] = [None] * len(refs)

        async def one(index: int, ref: Ref) -> None:
            found[index] = await self.one(ref, scope, report)

        try:
            async with asyncio.TaskGroup() as tasks:
                for index, ref in enumerate(refs):
                    if ref is not None:
                        tasks.create_task(one(index, ref))
        except BaseExceptionGroup as group:
            raise first_failure(group) from None
        return tuple(found)

    async def one(self, ref: Ref, scope: Scope, report: Reporter) -> str:
        """One snapshot id."""
        if ref.home == self._home:
            self._store.get(ref.id)
            self._store.hold(scope.lease, [ref.id])
            return ref.id
        layers = ref.layers or await self._published(ref, scope)
        top = f"chain:{chain_ids([layer.diff_id for layer in layers])[-1]}"
        snapshot = self._store.find(top)
        if snapshot is not None:
            id = snapshot.id
        else:
            same = (top, scope.identity, tuple((layer.digest, layer.source) for layer in layers))  # an image may claim any diff ids
            id = await self._flight.share(same, lambda: self._rebuild(ref, layers, scope, report))
        self._store.hold(scope.lease, [id])
        return id

    async def _published(self, ref: Ref, scope: Scope) -> tuple[Layer, ...]:
        """Ask the home to publish. A home that is gone takes with it what it had not published."""
        if not ref.home:
            raise RefLost(ref.id)
        try:
            request = transport_of(ref, scope)
            packed: Packed = await self._calls.call(subjects.executor_call(ref.home), request, within=10.0, absent=1.5)
        except CallLost as e:
            layers = await self._known_layers(ref.id)
            if not layers:
                raise RefLost(ref.id, f"snapshot {ref.id}: its executor {ref.home} does not answer: {e.message}") from None
            return layers
        if not packed.layers:
            raise RefLost(ref.id)
        return packed.layers

    async def _known_layers(self, ref_id: str) -> tuple[Layer, ...]:
        try:
            found: LayersFound = await self._calls.call(subjects.LAYERS, LayersOf(ref_id=ref_id), within=10.0)
        except BuildmeshError:
            return ()
        return found.layers

    async def _rebuild(self, ref: Ref, layers: Sequence[Layer], scope: Scope, report: Reporter) -> str:
        try:
            return await self._chains.build(layers, scope, report)
        except BlobMissing as error:
            raise RefLost(ref.id, f"snapshot {ref.id}: {error.message}") from None


def transport_of(ref: Ref, scope: Scope) -> Pack:
    """The order to make the layers of a ref fit for other executors."""
    return Pack(ref=ref, compression=Compression(type="zstd", level=1), scope=scope, transport=True)
