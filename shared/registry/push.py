"""Pushing: blobs (exists, mount, upload) and manifests (OCI distribution-spec, push; BuildKit util/push/push.go)."""

from collections.abc import AsyncIterator, Callable, Sequence
from enum import Enum
from urllib.parse import parse_qsl, urlsplit

from shared.errors import Unavailable
from shared.oci import Descriptor, Reference
from shared.registry.challenge import repository_scope
from shared.registry.client import Asker, HostClient, HttpPool, check_status
from shared.registry.hosts import RegistryHosts


class Pushed(Enum):
    """How a blob got there."""

    EXISTED = "existed"
    MOUNTED = "mounted"
    UPLOADED = "uploaded"


class Pusher:
    """Writes to one repository on behalf of one asker."""

    def __init__(self, pool: HttpPool, hosts: RegistryHosts, asker: Asker, target: Reference, *, insecure: bool = False) -> None:
        endpoint = hosts.endpoints(target.domain, insecure=insecure, push=True)[-1]
        self._target = target
        self._slots = pool.slots(target.domain, asker.credentials)
        self._client = HostClient(pool, endpoint, asker)
        self._scope = repository_scope(target.path, "pull", "push")

    async def blob(self, blob: Descriptor, chunks: Callable[[], AsyncIterator[bytes]], *, mount_from: Sequence[str] = ()) -> Pushed:
        """Have the blob in the repository. `chunks()` gives its bytes anew; `mount_from`: repositories there that have it."""
        async with self._slots:
            if await self._exists(blob):
                return Pushed.EXISTED
            location = ""
            for repository in mount_from:
                location = await self._start(blob, repository)
                if not location:
                    return Pushed.MOUNTED
            await self._upload(blob, location or await self._start(blob, ""), chunks)
            return Pushed.UPLOADED

    async def _exists(self, blob: Descriptor) -> bool:
        path = f"{self._target.path}/blobs/{blob.digest}"
        async with self._client.request("HEAD", path, scopes=[self._scope]) as response:
            if response.status == 404:
                return False
            await check_status(response, f"blob {blob.digest}", ok=(200,))
            return True

    async def _start(self, blob: Descriptor, mount_from: str) -> str:
        """The upload's location; empty when the blob was mounted instead."""
        params, scopes = {}, [self._scope]
        if mount_from:
            params = {"mount": blob.digest, "from": mount_from}
            scopes.append(repository_scope(mount_from, "pull"))
        path = f"{self._target.path}/blobs/uploads/"
        async with self._client.request("POST", path, scopes=scopes, params=params) as response:
            await check_status(response, f"upload to {self._target.name}", ok=(201, 202))
            if response.status == 201 and mount_from:
                return ""
            location: str = response.headers.get("Location", "")
        if not location:
            raise Unavailable(f"upload to {self._target.name}: the registry names no location")
        return f"/{location}" if location.startswith("/") else location

    async def _upload(self, blob: Descriptor, location: str, chunks: Callable[[], AsyncIterator[bytes]]) -> None:
        # one PUT with everything: what registries are fastest at, and what BuildKit's pusher does
        parts = urlsplit(location[1:] if location.startswith("//") else location)
        params = dict(parse_qsl(parts.query, keep_blank_values=True)) | {"digest": blob.digest}
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
        bare = location.partition("?")[0]
        async with self._client.request(
            "PUT", bare, scopes=[self._scope], params=params, headers=headers, body=chunks if blob.size else lambda: b"", retry=False
        ) as response:
            await check_status(response, f"upload of {blob.digest} to {self._target.name}", ok=(201, 202, 204))

    async def manifest(self, manifest: Descriptor, data: bytes, *, tag: str = "") -> None:
        """Put a manifest or index under its digest, or under `tag`."""
        path = f"{self._target.path}/manifests/{tag or manifest.digest}"
        headers = {"Content-Type": manifest.media_type, "Content-Length": str(len(data))}
        async with self._client.request("PUT", path, scopes=[self._scope], headers=headers, body=lambda: data) as response:
            await check_status(response, f"manifest {manifest.digest} to {self._target}", ok=(200, 201, 202))
