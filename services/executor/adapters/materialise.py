"""Refs → snapshots on this executor: found, or rebuilt from layers (lazy images, refs of other executors)."""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from services.executor.adapters.blob_bytes import blob_bytes
from services.executor.adapters.layer_compression import decompress
from services.executor.adapters.layer_unpack import Whiteouts, unpack_layer
from services.executor.adapters.read_ahead import ReadAhead
from services.executor.adapters.sources.layer_fetch import LayerFetch
from services.executor.core.snapshots import LayerStyle
from services.executor.ports import Reporter, SnapshotStore
from shared.blobs.ports import Blobs
from shared.blobs.threads import Pool
from shared.bus.calls import Calls
from shared.errors import BlobMissing, BuildmeshError, CallLost, InvalidInput, RefLost, first_failure
from shared.model import Digest, Layer, Ref
from shared.oci import chain_ids
from shared.run.flight import Flight
from shared.wire import subjects
from shared.wire.messages import Compression, LayersFound, LayersOf, Pack, Packed, Scope

LAYER_NOTE = "layer"
TRANSPORT_NOTE = "layer.transport"


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
        self._home, self._store, self._blobs, self._fetch = home, store, blobs, fetch
        self._calls, self._threads, self._flight = calls, threads, flight

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
        id = snapshot.id if snapshot is not None else await self._flight.do(top, lambda: self._rebuild(ref, layers, scope, report))
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
        """Downloads run ahead in parallel, unpacking goes in order."""
        chains = chain_ids([layer.diff_id for layer in layers])
        start, parent = self._deepest(chains)
        try:
            async with asyncio.TaskGroup() as tasks:
                ready = [tasks.create_task(self._fetch.ensure(layer, scope.sessions, report)) for layer in layers[start:]]
                for layer, chain, fetched in zip(layers[start:], chains[start:], ready, strict=True):
                    await fetched
                    parent = await self._unpack(layer, f"chain:{chain}", parent, scope.lease, report)
        except BaseExceptionGroup as group:
            error = first_failure(group)
            if isinstance(error, BlobMissing):
                raise RefLost(ref.id, f"snapshot {ref.id}: {error.message}") from None
            raise error from None
        assert parent is not None, "a chain has at least one layer"
        return parent

    def _deepest(self, chains: Sequence[str]) -> tuple[int, str | None]:
        """How many layers are here already, and the snapshot of the last of them."""
        for count in range(len(chains), 0, -1):
            snapshot = self._store.find(f"chain:{chains[count - 1]}")
            if snapshot is not None:
                return count, snapshot.id
        return 0, None

    async def _unpack(self, layer: Layer, key: str, parent: str | None, lease: str, report: Reporter) -> str:
        status = f"extracting {layer.digest}"
        report.status(status, total=layer.size)
        async with blob_bytes(self._blobs, layer.digest, self._threads) as chunks:
            id = await self._threads.do(self._unpack_now, layer, chunks, key, parent, lease)
        report.status(status, current=layer.size, total=layer.size, done=True)
        return id

    def _unpack_now(self, layer: Layer, chunks: Iterator[bytes], key: str, parent: str | None, lease: str) -> str:
        snapshot = self._store.prepare(parent, description=layer.description or f"layer {layer.digest}", lease=lease)
        try:
            own = self._store.layers(snapshot.id)[-1]
            style = Whiteouts.OVERLAY if own.style is LayerStyle.OVERLAY else Whiteouts.REMOVE
            with ReadAhead(decompress(chunks), name="unpack-read") as stream:
                unpack_layer(stream, own.path, whiteouts=style, lowers=own.lowers)
            _check_diff_id(layer, stream.digest)
            done = self._store.commit(snapshot.id, key=key)
        except BaseException:
            self._store.unclaim(snapshot.id)
            raise
        self._store.set_note(done.id, TRANSPORT_NOTE if layer.transport else LAYER_NOTE, encode_layer(layer))
        return done.id


def transport_of(ref: Ref, scope: Scope) -> Pack:
    """The order to make the layers of a ref fit for other executors."""
    return Pack(ref=ref, compression=Compression(type="zstd", level=1), scope=scope, transport=True)


def _check_diff_id(layer: Layer, found: Digest) -> None:
    """An image may claim any diff ids; a snapshot that is shared by them must hold what they say.

    Raises InvalidInput for an image, BlobMissing for a layer of our own (which can be made again).
    """
    if found == layer.diff_id:
        return
    if not layer.source:
        raise BlobMissing(layer.digest, f"layer {layer.digest} holds {found} instead of {layer.diff_id}")
    raise InvalidInput(f"wrong diff id calculated on extraction of {layer.digest}: {found}, the image says {layer.diff_id}")


def encode_layer(layer: Layer) -> bytes:
    """As kept in the note of a snapshot whose layer blob is known."""
    return json.dumps(asdict(layer)).encode()


def decode_layer(note: bytes) -> Layer:
    """Raises ValueError or TypeError for what is no such note."""
    fields = json.loads(note)
    return Layer(**{**fields, "urls": tuple(fields.get("urls", ()))})
