"""Where an image's manifests, configs and layers are read from: a registry, or a client's oci-layout; kept in the blob store."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from services.executor.adapters.sources.fleet_flight import FleetFlight
from services.executor.core.source_ids import BlobSource, ImageSource
from shared.blobs.ports import Blobs
from shared.bus.ports import KeyValue
from shared.errors import BlobMissing, BuildmeshError, InvalidInput, NotFound, SessionGone, Unavailable
from shared.model import Digest, sha256_digest
from shared.oci import Descriptor, Reference
from shared.registry.client import Asker, HttpPool
from shared.registry.hosts import RegistryHosts
from shared.registry.pull import Puller
from shared.session.content import read_blob
from shared.session.credentials import SessionCredentials
from shared.session.ports import SessionLinks

MAX_DOCUMENT = 8 << 20


class ImageOrigin(Protocol):
    """One place that has the image."""

    @property
    def source(self) -> str:
        """What `Layer.source` says: where its blobs can be had again."""
        ...

    async def root(self) -> Descriptor:
        """What the reference names now."""
        ...

    def blob(self, digest: Digest, size: int) -> AsyncIterator[bytes]:
        """Bytes of a layer or config (verified by the blob store when they are put)."""
        ...

    async def manifest(self, descriptor: Descriptor) -> bytes:
        """A manifest's or index's bytes."""
        ...

    async def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """Manifests that have this one as their subject: signatures, for example."""
        ...


class RegistryOrigin:
    """A registry, asked on behalf of some sessions."""

    def __init__(self, puller: Puller, reference: Reference) -> None:
        self._puller = puller
        self._reference = reference
        self.source = reference.name

    async def root(self) -> Descriptor:
        """By HEAD where that suffices."""
        return await self._puller.resolve(self._reference)

    def blob(self, digest: Digest, size: int) -> AsyncIterator[bytes]:
        """Resumed where it breaks."""
        return self._puller.blob(self._reference, digest, size)

    async def manifest(self, descriptor: Descriptor) -> bytes:
        """Verified."""
        return (await self._puller.manifest(self._reference, descriptor)).data

    async def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """As the registry lists them."""
        return await self._puller.referrers(self._reference, digest)


LOCAL_STORE = "local:"  # a client's cache folder, from which imported caches take their layers


class LayoutOrigin:
    """A content store of a client session (oci-layout)."""

    def __init__(self, links: SessionLinks, sessions: Sequence[str], store: str, reference: Reference) -> None:
        self._links = links
        self._sessions = tuple(sessions)
        self._store = store
        self._id = store if store.startswith(LOCAL_STORE) else f"oci:{store}"
        self._reference = reference
        self.source = self._id

    async def root(self) -> Descriptor:
        """The digest in the reference; the media type is read out of the document."""
        digest = self._reference.digest
        if digest is None:
            raise InvalidInput(f"oci-layout reference {self._reference} has no digest")
        data = await self._whole(digest)
        return Descriptor(media_type="", digest=digest, size=len(data))

    async def blob(self, digest: Digest, size: int) -> AsyncIterator[bytes]:
        """From the first session that has the store."""
        failure: BuildmeshError = SessionGone(f"no active session has the store {self._store!r}")
        for session in self._sessions:
            begun = False
            try:
                async for chunk in read_blob(self._links, session, self._id, digest):
                    begun = True
                    yield chunk
                return
            except BuildmeshError as e:
                if begun:
                    raise
                failure = e
        raise failure

    async def manifest(self, descriptor: Descriptor) -> bytes:
        """Verified."""
        return await self._whole(descriptor.digest)

    async def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        """A folder has no such list."""
        return ()

    async def _whole(self, digest: Digest) -> bytes:
        data = bytearray()
        async for chunk in self.blob(digest, -1):
            data += chunk
            if len(data) > MAX_DOCUMENT:
                raise InvalidInput(f"manifest {digest} of store {self._store!r} is larger than {MAX_DOCUMENT} bytes")
        if digest.startswith("sha256:") and sha256_digest(data) != digest:
            raise Unavailable(f"manifest {digest} of store {self._store!r}: content does not match its digest")
        return bytes(data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """Makes origins."""

    pool: HttpPool
    hosts: RegistryHosts
    links: SessionLinks

    def of(self, source: ImageSource | BlobSource, sessions: Sequence[str], on_retry: Callable[[str], None] | None = None) -> ImageOrigin:
        """For a source, on behalf of `sessions` (an oci-layout's own session comes first)."""
        if source.oci_layout:
            own = (source.session.rpartition(":")[2],) if source.session else ()
            return LayoutOrigin(self.links, (*own, *(s for s in sessions if s not in own)), source.store, source.reference)
        return self.registry(source.reference, sessions, on_retry)

    def registry(self, reference: Reference, sessions: Sequence[str], on_retry: Callable[[str], None] | None = None) -> RegistryOrigin:
        """A registry's repository."""
        asker = Asker(credentials=SessionCredentials(self.links, sessions), on_retry=on_retry)
        return RegistryOrigin(Puller(self.pool, self.hosts, asker), reference)

    def layout(self, store: str, sessions: Sequence[str], digest: Digest) -> LayoutOrigin:
        """A client's store, for a layer that came from there."""
        reference = Reference(domain="oci-layout", path="layer", digest=digest)
        return LayoutOrigin(self.links, sessions, store, reference)


def _origin_key(source: str, digest: Digest, identity: str) -> str:
    return hashlib.sha256("\0".join((source, digest, *([identity] if identity else []))).encode()).hexdigest()


class KeptDocuments:
    """Manifests and configs, read once and kept in the blob store under their digests. `identity`: for whom."""

    def __init__(self, blobs: Blobs, origins: KeyValue, fleet: FleetFlight | None = None, identity: str = "") -> None:
        self._blobs = blobs
        self._origins = origins
        self._fleet = fleet or FleetFlight(None, "")
        self._identity = identity

    def of(self, identity: str) -> "KeptDocuments":
        """What another one may see. Identities do not wait for each other's downloads either."""
        return KeptDocuments(self._blobs, self._origins, self._fleet, identity)

    async def root(self, origin: ImageOrigin, descriptor: Descriptor) -> bytes:
        """The document that a reference names. A copy of ours serves only if this very origin has shown it to this identity before.

        Whoever knows a digest must not get at what another repository, perhaps a private one, has under it.
        """
        key = _origin_key(origin.source, descriptor.digest, self._identity)

        async def shown() -> bytes | None:
            return await self._known(descriptor.digest) if await self._origins.get(key) is not None else None

        async def show() -> bytes:
            data = await origin.manifest(descriptor)
            await self._blobs.put(data, digest=descriptor.digest)
            await self._origins.put(key, b"")
            return data

        return await self._once(f"document-{key}", shown, show)

    async def manifest(self, origin: ImageOrigin, descriptor: Descriptor) -> bytes:
        """From the store if it is there."""
        return await self._kept(origin, descriptor.digest, lambda: origin.manifest(descriptor))

    async def config(self, origin: ImageOrigin, descriptor: Descriptor) -> bytes:
        """Likewise; at most 8 MiB."""
        if descriptor.size > MAX_DOCUMENT:
            raise InvalidInput(f"image config {descriptor.digest} is larger than {MAX_DOCUMENT} bytes")

        async def read() -> bytes:
            return b"".join([chunk async for chunk in origin.blob(descriptor.digest, descriptor.size)])

        return await self._kept(origin, descriptor.digest, read)

    async def _kept(self, origin: ImageOrigin, digest: Digest, read: Callable[[], Awaitable[bytes]]) -> bytes:
        async def fetch() -> bytes:
            data = await read()
            await self._blobs.put(data, digest=digest)
            return data

        return await self._once("part-" + _origin_key(origin.source, digest, self._identity), lambda: self._known(digest), fetch)

    async def _once(self, key: str, known: Callable[[], Awaitable[bytes | None]], fetch: Callable[[], Awaitable[bytes]]) -> bytes:
        """What is `known`, or what one executor fetches while the others wait for it."""
        found = await known()
        if found is not None:
            return found

        async def work() -> None:
            nonlocal found
            found = await fetch()

        async def done() -> bool:
            nonlocal found
            found = await known()
            return found is not None

        await self._fleet.do(key, work, done)
        assert found is not None, "either was done"
        return found

    async def _known(self, digest: Digest) -> bytes | None:
        try:
            async with self._blobs.open(digest) as reader:
                if reader.size > MAX_DOCUMENT:
                    raise NotFound(f"{digest} is no manifest or config")
                return await reader.read_at(0, reader.size)
        except BlobMissing:
            return None
