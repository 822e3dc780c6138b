"""Writes a cache to a registry or into the client's local cache folder."""

import json
from collections.abc import AsyncIterator

from services.exporter.adapters.registry_push import RegistryPush
from services.exporter.core.cache_manifest import CacheImage, cache_image, parse_cache_options
from services.exporter.core.push_order import PushOrder
from services.exporter.ports import BlobSource, Progress
from shared.errors import InvalidInput, Unsupported
from shared.model import Digest
from shared.oci import Descriptor
from shared.session.content import write_blob
from shared.session.ports import SessionLinks
from shared.wire.messages import ExportCache, ExportDone


class CacheExport:
    """Exports on behalf of one build."""

    def __init__(self, *, push: RegistryPush, links: SessionLinks, blobs: BlobSource, progress: Progress) -> None:
        self._push = push
        self._links = links
        self._blobs = blobs
        self._progress = progress

    async def run(self, request: ExportCache) -> ExportDone:
        """The response has `cache.manifest`, unless nothing was worth writing."""
        attrs = request.option.attrs
        options = parse_cache_options(attrs)
        async with self._progress.step("preparing build cache for export"):
            image = cache_image(request.entries, options)
        if image is None:
            async with self._progress.step("skipping cache export for empty result"):
                return ExportDone()
        await self._blobs.keep([image.config, image.manifest])
        match request.option.type:
            case "registry":
                await self._to_registry(_required(attrs.get("ref", ""), "ref", "registry"), image, insecure=options.insecure)
            case "local":
                await self._to_client(_required(attrs.get("dest", ""), "dest", "local"), image, request.session)
            case other:
                raise Unsupported(f'cache export of type "{other[:100]}" is not supported by this server yet')
        return ExportDone(response={"cache.manifest": json.dumps(image.root.to_json(), separators=(",", ":"))})

    async def _to_registry(self, name: str, image: CacheImage, *, insecure: bool) -> None:
        config = Descriptor(media_type=image.config.media_type, digest=image.config.digest, size=len(image.config.data))
        await self._push.run(
            PushOrder(names=(name,), by_digest=False, insecure=insecure, layers=image.layers, configs=(config,), manifests=(image.root,))
        )

    async def _to_client(self, folder: str, image: CacheImage, session: str) -> None:
        store = f"local:{folder}"
        for layer in image.layers:
            async with self._progress.step(f"writing layer {layer.digest}"):
                await write_blob(self._links, session, store, layer.digest, layer.size, self._chunks(layer.digest))
        for document in (image.config, image.manifest):
            async with self._progress.step(document.status):
                await write_blob(self._links, session, store, document.digest, len(document.data), self._chunks(document.digest))

    def _chunks(self, digest: Digest) -> AsyncIterator[bytes]:
        return self._blobs.chunks(digest)


def _required(value: str, key: str, kind: str) -> str:
    if not value:
        raise InvalidInput(f"{kind} cache exporter requires {key}")
    return value
