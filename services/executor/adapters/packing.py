"""Pack: the layer chain of a ref in the blob store."""

from typing import Protocol

from services.executor.adapters.materialise import Materialise
from services.executor.adapters.pack import NotMadeYet
from services.executor.adapters.reporter import reporting
from services.executor.adapters.sources.layer_fetch import LayerFetch
from services.executor.ports import Reporter
from shared.bus.calls import Served
from shared.errors import BlobMissing, RefLost
from shared.model import Digest, Layer, Ref
from shared.oci import Compression as Kind
from shared.oci import layer_compression
from shared.wire.messages import Compression, Pack, Packed

_NO_VERTEX = Digest("sha256:" + "0" * 64)


class Packer(Protocol):
    """Packs the layers of a local snapshot."""

    async def pack(self, id: str, request: Pack, report: Reporter) -> tuple[Layer, ...]:
        """Every layer of snapshot `id`, base first, its blob in the store (existing blobs are used again unless `force`)."""
        ...


class Packing:
    """Handler of Pack. A lazy ref whose layers are wanted as they are is only fetched, never unpacked."""

    def __init__(self, *, home: str, materialise: Materialise, fetch: LayerFetch, packer: Packer) -> None:
        self._home, self._materialise, self._fetch, self._packer = home, materialise, fetch, packer

    async def pack(self, request: Pack, served: Served) -> Packed:
        """Raises RefLost, and what the registry of a lazy layer says."""
        try:
            return await self._pack(request, served)
        except BlobMissing as error:
            raise RefLost(request.ref.id, f"snapshot {request.ref.id}: {error.message}") from None

    async def _pack(self, request: Pack, served: Served) -> Packed:
        async with reporting(served, _NO_VERTEX) as report:
            if self._usable_as_is(request.ref, request):
                if request.fetch:
                    for layer in request.ref.layers:
                        await self._fetch.ensure(layer, request.scope, report)
                return Packed(layers=request.ref.layers)
            if request.only_known and request.ref.home != self._home:
                return Packed(layers=())
            id = await self._materialise.one(request.ref, request.scope, report)
            try:
                return Packed(layers=await self._packer.pack(id, request, report))
            except NotMadeYet:
                return Packed(layers=())

    def _usable_as_is(self, ref: Ref, request: Pack) -> bool:
        if not ref.layers or request.rewrite_epoch >= 0:
            return False
        if any(layer.transport for layer in ref.layers) and not request.transport:
            return False
        return not request.compression.force or all(_fits(layer, request.compression) for layer in ref.layers)


def _fits(layer: Layer, wanted: Compression) -> bool:
    try:
        return layer_compression(layer.media_type) is Kind(wanted.type)
    except ValueError:
        return False
