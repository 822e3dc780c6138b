"""Brings the blobs of lazy layers into the blob store: each digest once at a time in the whole fleet, with download statuses.

Only those wait for each other who ask the same place for the same identity: a place, or a client whose password is asked, may never answer.
"""

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator

from services.executor.adapters.sources.fleet_flight import FleetFlight
from services.executor.adapters.sources.image_store import LOCAL_STORE, ImageOrigin, Origins
from services.executor.ports import Reporter
from shared.blobs.ports import Blobs
from shared.errors import BlobMissing, NotFound
from shared.model import Digest, Layer
from shared.oci import parse_reference
from shared.run.flight import Flight
from shared.wire.messages import Scope

_OCI = "oci:"
SEEN = 30.0  # seconds
REMEMBERED = 10_000


class LayerFetch:
    """Downloads what the store lacks."""

    def __init__(self, blobs: Blobs, origins: Origins, flight: Flight[None], fleet: FleetFlight) -> None:
        self._blobs = blobs
        self._origins = origins
        self._flight = flight
        self._fleet = fleet
        self._seen: OrderedDict[Digest, float] = OrderedDict()

    async def ensure(self, layer: Layer, scope: Scope, report: Reporter) -> None:
        """The layer's blob is in the store afterwards, verified. Raises BlobMissing when nobody has it, or what the registry says."""
        if not await self._is_here(layer):
            key = _key(layer, scope)
            await self._flight.share(
                key, lambda: self._fleet.do(key, lambda: self._download(layer, scope, report), lambda: self._is_here(layer))
            )

    async def _is_here(self, layer: Layer) -> bool:
        """Of transport blobs the store is asked twice a minute at most: a ref that has lost one is made again, others could not be."""
        now = asyncio.get_running_loop().time()
        if self._seen.get(layer.digest, 0.0) > now:
            return True
        if await self._blobs.find_missing([layer.digest]):
            return False
        if layer.transport:
            self._seen[layer.digest] = now + SEEN
            self._seen.move_to_end(layer.digest)
            if len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
        return True

    async def _download(self, layer: Layer, scope: Scope, report: Reporter) -> None:
        origin = self._origin(layer, scope)
        status = str(layer.digest)
        report.status(status, total=layer.size)
        try:
            await self._blobs.put(self._counted(origin.blob(layer.digest, layer.size), layer, report), digest=layer.digest)
        except NotFound as error:
            raise BlobMissing(layer.digest, f"blob {layer.digest} is gone from where it came from: {error.message}") from None
        report.status(status, current=layer.size, total=layer.size, done=True)

    def _origin(self, layer: Layer, scope: Scope) -> ImageOrigin:
        sessions = scope.sessions
        if not layer.source:
            raise BlobMissing(layer.digest)
        if layer.source.startswith(_OCI):
            return self._origins.layout(layer.source.removeprefix(_OCI), sessions, layer.digest)
        if layer.source.startswith(LOCAL_STORE):
            return self._origins.layout(layer.source, sessions, layer.digest)
        return self._origins.registry(parse_reference(layer.source), sessions)

    async def _counted(self, chunks: AsyncIterator[bytes], layer: Layer, report: Reporter) -> AsyncIterator[bytes]:
        done, told = 0, 0
        async for chunk in chunks:
            done += len(chunk)
            if done - told > layer.size // 50:
                told = done
                report.status(str(layer.digest), current=done, total=layer.size)
            yield chunk


def _key(layer: Layer, scope: Scope) -> str:
    """Where it comes from and for whom. Stores of clients have names that each chooses for himself."""
    sessions = scope.sessions if layer.source.startswith((_OCI, LOCAL_STORE)) else ()
    text = "\0".join((layer.digest, layer.source, scope.identity, *sessions))
    return "blob-" + hashlib.sha256(text.encode()).hexdigest()
