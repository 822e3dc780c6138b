"""Chains of layers → snapshots: what is missing is downloaded and unpacked side by side, and laid on each other in order.

Where the disk has layers apart (overlayfs) a layer is unpacked without those below it, as BuildKit does since 0.23; a full tree needs them.
"""

import asyncio
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from services.executor.adapters.blob_bytes import blob_bytes
from services.executor.adapters.layer_compression import decompress
from services.executor.adapters.layer_notes import LAYER_NOTE, TRANSPORT_NOTE, encode_layer
from services.executor.adapters.layer_unpack import Apart, Whiteouts, put_on, unpack_apart, unpack_layer
from services.executor.adapters.read_ahead import ReadAhead
from services.executor.adapters.sources.layer_fetch import LayerFetch
from services.executor.core.snapshots import LayerStyle
from services.executor.ports import Reporter, SnapshotStore
from shared.blobs.ports import Blobs
from shared.blobs.threads import Pool
from shared.errors import BlobMissing, InvalidInput, first_failure
from shared.model import Digest, Layer
from shared.oci import chain_ids
from shared.wire.messages import Scope

__all__ = ["LayerChains"]

WIDTH = max(2, min(4, os.cpu_count() or 1))  # layers that are unpacked at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unpacked:
    """A mutable snapshot that is claimed; `apart` when it has to be laid on its parent yet."""

    id: str
    apart: Apart | None = None


class LayerChains:
    """Builds them. Layers that are here already, by their chain id, are neither downloaded nor unpacked."""

    def __init__(self, *, store: SnapshotStore, blobs: Blobs, fetch: LayerFetch, threads: Pool) -> None:
        self._store, self._blobs, self._fetch, self._threads = store, blobs, fetch, threads
        self._slots = asyncio.Semaphore(WIDTH)

    async def build(self, layers: Sequence[Layer], scope: Scope, report: Reporter) -> str:
        """The snapshot of the whole chain (at least one layer), held by the scope's lease. Raises BlobMissing, InvalidInput."""
        chains = chain_ids([layer.diff_id for layer in layers])
        start, parent = self._deepest(chains)
        if parent is not None:
            self._store.hold(scope.lease, [parent])
        left: set[str] = set()  # unpacked, and not part of the chain yet
        try:
            async with asyncio.TaskGroup() as tasks:
                ready = [tasks.create_task(self._fetch.ensure(layer, scope, report)) for layer in layers[start:]]
                works = [
                    tasks.create_task(self._unpacked(layer, fetched, scope.lease, report, left, lowest=not at))
                    for at, (layer, fetched) in enumerate(zip(layers[start:], ready, strict=True), start)
                    if self._apart or not at
                ]
                for layer, chain, fetched in zip(layers[start:], chains[start:], ready, strict=True):
                    if works:
                        made = await works.pop(0)
                    else:
                        made = await self._on(parent, layer, fetched, scope.lease, report, left)
                    parent = await self._threads.finish(self._lay, layer, f"chain:{chain}", made, parent)
                    left.discard(made.id)
        except BaseExceptionGroup as group:
            raise first_failure(group) from None
        finally:
            for id in left:
                await self._threads.finish(self._store.unclaim, id)
        assert parent is not None, "a chain has at least one layer"
        return parent

    @property
    def _apart(self) -> bool:
        return self._store.style is LayerStyle.OVERLAY

    def _deepest(self, chains: Sequence[str]) -> tuple[int, str | None]:
        """How many layers are here already, and the snapshot of the last of them."""
        for count in range(len(chains), 0, -1):
            snapshot = self._store.find(f"chain:{chains[count - 1]}")
            if snapshot is not None:
                return count, snapshot.id
        return 0, None

    async def _unpacked(
        self, layer: Layer, fetched: "asyncio.Task[None]", lease: str, report: Reporter, left: set[str], *, lowest: bool
    ) -> _Unpacked:
        """Without what lies below it; the lowest has nothing below."""
        await fetched
        async with self._slots:
            return await self._unpack(layer, None, lease, report, left, apart=self._apart and not lowest)

    async def _on(
        self, parent: str | None, layer: Layer, fetched: "asyncio.Task[None]", lease: str, report: Reporter, left: set[str]
    ) -> _Unpacked:
        await fetched
        return await self._unpack(layer, parent, lease, report, left, apart=False)

    async def _unpack(self, layer: Layer, parent: str | None, lease: str, report: Reporter, left: set[str], *, apart: bool) -> _Unpacked:
        status = f"extracting {layer.digest}"
        report.status(status, total=layer.size)
        async with blob_bytes(self._blobs, layer.digest, self._threads) as chunks:
            made = await self._threads.take(
                lambda unpacked: self._store.unclaim(unpacked.id), self._unpack_now, layer, chunks, parent, lease, apart
            )
        left.add(made.id)
        report.status(status, current=layer.size, total=layer.size, done=True)
        return made

    def _unpack_now(self, layer: Layer, chunks: Iterator[bytes], parent: str | None, lease: str, apart: bool) -> _Unpacked:
        snapshot = self._store.prepare(parent, description=layer.description or f"layer {layer.digest}", lease=lease)
        needs = None
        try:
            own = self._store.layers(snapshot.id)[-1]
            style = Whiteouts.OVERLAY if own.style is LayerStyle.OVERLAY else Whiteouts.REMOVE
            with ReadAhead(decompress(chunks), name="unpack-read") as stream:
                if apart:
                    needs = unpack_apart(stream, own.path)
                else:
                    unpack_layer(stream, own.path, whiteouts=style, lowers=own.lowers)
            _check_diff_id(layer, stream.digest)
        except BaseException:
            self._store.unclaim(snapshot.id)
            raise
        return _Unpacked(id=snapshot.id, apart=needs)

    def _lay(self, layer: Layer, key: str, made: _Unpacked, parent: str | None) -> str:
        """What was unpacked is part of the chain."""
        if made.apart is not None:
            assert parent is not None, "the lowest layer is not apart"
            self._store.rebase(made.id, parent)
            own = self._store.layers(made.id)[-1]
            put_on(own.path, made.apart, own.lowers)
        done = self._store.commit(made.id, key=key)
        self._store.set_note(done.id, TRANSPORT_NOTE if layer.transport else LAYER_NOTE, encode_layer(layer))
        return done.id


def _check_diff_id(layer: Layer, found: Digest) -> None:
    """An image may claim any diff ids; a snapshot that is shared by them must hold what they say.

    Raises InvalidInput for an image, BlobMissing for a layer of our own (which can be made again).
    """
    if found == layer.diff_id:
        return
    if not layer.source:
        raise BlobMissing(layer.digest, f"layer {layer.digest} holds {found} instead of {layer.diff_id}")
    raise InvalidInput(f"wrong diff id calculated on extraction of {layer.digest}: {found}, the image says {layer.diff_id}")
