"""Pulling: resolve names, read manifests and blobs, verified (OCI distribution-spec, pull)."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from shared.errors import BuildmeshError, NotFound, Unavailable
from shared.model import Digest, is_digest, sha256_digest
from shared.oci import Descriptor, Index, Reference, parse_manifest
from shared.oci.media_types import INDEX_TYPES, MANIFEST_TYPES, OCI_INDEX
from shared.registry.challenge import repository_scope
from shared.registry.client import Asker, HostClient, HttpPool, check_status
from shared.registry.failures import wire_failures
from shared.registry.hosts import RegistryHosts

MAX_MANIFEST = 4 << 20
_CHUNK = 1 << 18
_RESUMES = 5
T = TypeVar("T")
_ACCEPT = ", ".join((*INDEX_TYPES, *MANIFEST_TYPES, "*/*;q=0.1"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """A manifest's bytes as the registry has them, and what they are."""

    descriptor: Descriptor
    data: bytes


class Puller:
    """Reads from one registry (its mirrors first) on behalf of one asker."""

    def __init__(self, pool: HttpPool, hosts: RegistryHosts, asker: Asker) -> None:
        self._pool = pool
        self._hosts = hosts
        self._asker = asker

    def _clients(self, reference: Reference) -> list[HostClient]:
        return [HostClient(self._pool, e, self._asker) for e in self._hosts.endpoints(reference.domain)]

    async def resolve(self, reference: Reference) -> Descriptor:
        """What the tag or digest names now. Raises NotFound, Denied, Unavailable, naming the reference."""
        return await self._first(reference, "resolve", self._resolve_at)

    async def manifest(self, reference: Reference, descriptor: Descriptor | None = None) -> Fetched:
        """The manifest (or index) bytes, verified against the digest when one is known. At most 4 MiB."""
        wanted = reference if descriptor is None else reference.with_digest(descriptor.digest)
        return await self._first(wanted, "fetch manifest of", self._manifest_at)

    async def _first(self, reference: Reference, verb: str, step: Callable[[HostClient, Reference], Awaitable[T]]) -> T:
        error: BuildmeshError | None = None
        for client in self._clients(reference):
            try:
                return await step(client, reference)
            except BuildmeshError as e:
                # the registry's own word counts most, but a mirror's «not found» more than a registry that can't be reached
                if not (isinstance(error, NotFound) and isinstance(e, Unavailable)):
                    error = e
        assert error is not None, "there is always the registry itself"
        raise error.prefixed(f"failed to {verb} {reference}")

    async def _resolve_at(self, client: HostClient, reference: Reference) -> Descriptor:
        path = f"{reference.path}/manifests/{reference.object or 'latest'}"
        scopes = [repository_scope(reference.path, "pull")]
        async with client.request("HEAD", path, scopes=scopes, headers={"Accept": _ACCEPT}) as response:
            digest = response.headers.get("Docker-Content-Digest", "")
            length = response.headers.get("Content-Length", "")
            if response.status == 200 and is_digest(digest) and length.isdigit() and response.content_type:
                if reference.digest is not None and digest != reference.digest:
                    raise Unavailable(f"{client} answered with {digest}")
                return Descriptor(media_type=response.content_type, digest=Digest(digest), size=int(length))
            if response.status == 404:
                raise NotFound(f"{reference}: not found")
        return (await self._manifest_at(client, reference)).descriptor

    async def _manifest_at(self, client: HostClient, reference: Reference) -> Fetched:
        path = f"{reference.path}/manifests/{reference.object or 'latest'}"
        scopes = [repository_scope(reference.path, "pull")]
        async with client.request("GET", path, scopes=scopes, headers={"Accept": _ACCEPT}) as response:
            await check_status(response, str(reference), ok=(200,))
            data = b"".join([chunk async for chunk in _bounded(response, MAX_MANIFEST)])
            digest = sha256_digest(data)
            if reference.digest is not None and digest != reference.digest:
                raise Unavailable(f"{reference}: the registry sent {digest}")
            return Fetched(descriptor=Descriptor(media_type=response.content_type, digest=digest, size=len(data)), data=data)

    async def referrers(self, reference: Reference, digest: Digest) -> tuple[Descriptor, ...]:
        """What has this manifest as its subject, by the referrers API, else by the tag that stands for it (distribution-spec, referrers).

        Empty when there is nothing. Raises Denied, Unavailable.
        """
        named = Reference(domain=reference.domain, path=reference.path, digest=digest)
        try:
            data = await self._first(named, "list referrers of", self._referrers_at)
        except NotFound:
            return ()
        try:
            found = parse_manifest(data, OCI_INDEX)
        except ValueError as error:
            raise Unavailable(f"referrers of {named}: {error}") from None
        return found.manifests if isinstance(found, Index) else ()

    async def _referrers_at(self, client: HostClient, reference: Reference) -> bytes:
        path, scopes = f"{reference.path}/referrers/{reference.digest}", [repository_scope(reference.path, "pull")]
        async with client.request("GET", path, scopes=scopes, headers={"Accept": OCI_INDEX}) as response:
            if response.status not in (404, 405):
                await check_status(response, f"referrers of {reference}", ok=(200,))
                if response.content_type == OCI_INDEX:
                    return b"".join([chunk async for chunk in _bounded(response, MAX_MANIFEST)])
        algorithm, _, value = str(reference.digest).partition(":")
        tagged = Reference(domain=reference.domain, path=reference.path, tag=f"{algorithm}-{value}"[:128])
        return (await self._manifest_at(client, tagged)).data

    async def blob(self, reference: Reference, digest: Digest, size: int) -> AsyncIterator[bytes]:
        """All bytes of a blob, taken up again where the connection broke, verified at the end.

        Raises Unavailable when the bytes are wrong or too many: nothing that was yielded may be used then.
        """
        hasher, offset = hashlib.new(digest.partition(":")[0]), 0
        clients, failure = self._clients(reference), None
        for attempt in range(_RESUMES + len(clients)):
            client = clients[min(attempt, len(clients) - 1)]
            try:
                async for chunk in self._blob_from(client, reference, digest, offset):
                    offset += len(chunk)
                    if 0 <= size < offset:
                        raise Unavailable(f"blob {digest} of {reference.name} is longer than {size} bytes")
                    hasher.update(chunk)
                    yield chunk
                break
            except BuildmeshError as e:
                if 0 <= size < offset or attempt + 1 >= _RESUMES + len(clients) or (isinstance(e, NotFound) and client is clients[-1]):
                    raise
                failure = e
        if hasher.hexdigest() != digest.partition(":")[2]:
            raise Unavailable(f"blob {digest} of {reference.name}: content does not match its digest") from failure

    async def _blob_from(self, client: HostClient, reference: Reference, digest: Digest, offset: int) -> AsyncIterator[bytes]:
        path, scopes = f"{reference.path}/blobs/{digest}", [repository_scope(reference.path, "pull")]
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        slots = self._pool.slots(reference.domain, self._asker.credentials)
        async with slots, client.request("GET", path, scopes=scopes, headers=headers) as response:
            await check_status(response, f"blob {digest} of {reference.name}", ok=(200, 206))
            skip = offset if offset and response.status == 200 else 0
            with wire_failures(f"blob {digest} of {reference.name}"):
                async for chunk in response.content.iter_chunked(_CHUNK):
                    if skip:
                        skip, chunk = max(0, skip - len(chunk)), chunk[skip:]
                    if chunk:
                        yield chunk


async def _bounded(response: Any, limit: int) -> AsyncIterator[bytes]:
    seen = 0
    async for chunk in response.content.iter_chunked(_CHUNK):
        seen += len(chunk)
        if seen > limit:
            raise Unavailable(f"manifest is larger than {limit} bytes")
        yield chunk
