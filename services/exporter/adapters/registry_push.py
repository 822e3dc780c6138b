"""Carries out a push order: to every name, blobs in parallel, then manifests, the root under its tag."""

import asyncio
from collections.abc import AsyncIterator, Callable

from services.exporter.core.names import push_target
from services.exporter.core.push_order import PushOrder
from services.exporter.ports import BlobSource, Progress
from shared.errors import BlobMissing, BuildmeshError, first_failure
from shared.model import Layer
from shared.oci import Descriptor, Reference, parse_reference
from shared.oci.media_types import is_foreign
from shared.registry.auth import Credentials
from shared.registry.client import Asker, HttpPool
from shared.registry.hosts import RegistryHosts
from shared.registry.pull import Puller
from shared.registry.push import Pusher


class RegistryPush:
    """Pushes on behalf of one asker."""

    def __init__(self, *, pool: HttpPool, hosts: RegistryHosts, credentials: Credentials, blobs: BlobSource, progress: Progress) -> None:
        self._pool = pool
        self._hosts = hosts
        self._asker = Asker(credentials=credentials)
        self._blobs = blobs
        self._progress = progress

    async def run(self, order: PushOrder) -> None:
        """Raises `failed to push <name>: …`."""
        for name in order.names:
            try:
                await self._push(order, push_target(name, by_digest=order.by_digest))
            except BuildmeshError as e:
                raise e.prefixed(f"failed to push {name}") from None

    async def _push(self, order: PushOrder, target: Reference) -> None:
        pusher = Pusher(self._pool, self._hosts, self._asker, target, insecure=order.insecure)
        async with self._progress.step("pushing layers"):
            await _all_of(
                [self._layer_job(pusher, target, layer) for layer in order.layers if not is_foreign(layer.media_type)]
                + [self._blob_job(pusher, config) for config in order.configs]
            )
        root = order.manifests[-1]
        async with self._progress.step(f"pushing manifest for {target}@{root.digest}"):
            for manifest in order.manifests[:-1]:
                await pusher.manifest(manifest, await self._bytes(manifest))
            await pusher.manifest(root, await self._bytes(root), tag="" if order.by_digest else target.tag)

    def _blob_job(self, pusher: Pusher, blob: Descriptor) -> Callable[[], object]:
        return lambda: pusher.blob(blob, lambda: self._blobs.chunks(blob.digest))

    def _layer_job(self, pusher: Pusher, target: Reference, layer: Layer) -> Callable[[], object]:
        blob = Descriptor(media_type=layer.media_type, digest=layer.digest, size=layer.size)
        source = _repository(layer.source)
        mount = [source.path] if source and source.domain == target.domain and source.path != target.path else []
        return lambda: pusher.blob(blob, lambda: self._layer_chunks(layer, source), mount_from=mount)

    async def _layer_chunks(self, layer: Layer, source: Reference | None) -> AsyncIterator[bytes]:
        """From the store, else (a lazy layer) straight from where it came from."""
        sent = False
        try:
            async for chunk in self._blobs.chunks(layer.digest):
                sent = True
                yield chunk
        except BlobMissing:
            if sent or source is None:
                raise
        else:
            return
        async for chunk in Puller(self._pool, self._hosts, self._asker).blob(source, layer.digest, layer.size):
            yield chunk

    async def _bytes(self, document: Descriptor) -> bytes:
        return b"".join([chunk async for chunk in self._blobs.chunks(document.digest)])


def _repository(source: str) -> Reference | None:
    if not source or source.startswith("oci:"):
        return None
    try:
        return parse_reference(source)
    except ValueError:
        return None


async def _all_of(jobs: list[Callable[[], object]]) -> None:
    """All at once (the registry client bounds them per host); the first failure, as itself, cancels the rest."""

    async def one(job: Callable[[], object]) -> None:
        await job()  # type: ignore[misc]

    try:
        async with asyncio.TaskGroup() as tasks:
            for job in jobs:
                tasks.create_task(one(job))
    except BaseExceptionGroup as group:
        raise first_failure(group) from None
