"""Reads a cache that somebody exported: from a registry (also inside of an image) or from the client's local cache folder."""

import base64
import binascii
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Protocol

from shared.errors import BuildmeshError, InvalidInput, NotFound, Unsupported
from shared.model import CacheEntry, Digest, Layer, is_digest, sha256_digest
from shared.oci import Descriptor, Index, Manifest, Reference, parse_manifest, parse_reference
from shared.oci.cache_config import CACHE_CONFIG, INLINE_KEY, decode_config, decode_inline, descriptor_layer, parse_time
from shared.oci.go_json import load_object
from shared.oci.media_types import is_index, is_manifest
from shared.registry.pull import Puller
from shared.session.content import read_blob
from shared.session.ports import SessionLinks
from shared.wire.messages import CacheImported, ImportCache

MAX_DOCUMENT = 16 << 20
MAX_MANIFESTS = 100


class Store(Protocol):
    """Where documents are read from, verified; `source` names it in layers."""

    source: str

    async def root(self) -> tuple[bytes, str]:
        """(manifest or index, its media type)."""
        ...

    async def read(self, descriptor: Descriptor) -> bytes:
        """A document by descriptor."""
        ...


class RegistryStore:
    """A repository."""

    def __init__(self, puller: Puller, reference: Reference) -> None:
        self._puller = puller
        self._reference = reference
        self.source = f"{reference.domain}/{reference.path}"

    async def root(self) -> tuple[bytes, str]:
        fetched = await self._puller.manifest(self._reference.with_default_tag())
        return fetched.data, fetched.descriptor.media_type

    async def read(self, descriptor: Descriptor) -> bytes:
        if is_manifest(descriptor.media_type) or is_index(descriptor.media_type):
            return (await self._puller.manifest(self._reference, descriptor)).data
        return await _whole(self._puller.blob(self._reference, descriptor.digest, descriptor.size), descriptor)


class ClientStore:
    """The client's local cache folder."""

    def __init__(self, links: SessionLinks, session: str, folder: str, digest: Digest) -> None:
        self._links = links
        self._session = session
        self._store = f"local:{folder}"
        self._digest = digest
        self.source = self._store

    async def root(self) -> tuple[bytes, str]:
        return await self.read(Descriptor(media_type="", digest=self._digest, size=0)), ""

    async def read(self, descriptor: Descriptor) -> bytes:
        return await _whole(read_blob(self._links, self._session, self._store, descriptor.digest), descriptor)


async def _whole(chunks: AsyncIterator[bytes], descriptor: Descriptor) -> bytes:
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > MAX_DOCUMENT:
            raise InvalidInput(f"cache document {descriptor.digest} is larger than {MAX_DOCUMENT} bytes")
    if sha256_digest(data) != descriptor.digest:
        raise InvalidInput(f"cache document {descriptor.digest} has other bytes than its digest says")
    return bytes(data)


async def import_cache(request: ImportCache, puller: Puller, links: SessionLinks) -> CacheImported:
    """Raises NotFound, InvalidInput and what the registry says; the caller goes on without the cache."""
    attrs = request.option.attrs
    store: Store
    match request.option.type:
        case "registry":
            try:
                store = RegistryStore(puller, parse_reference(attrs.get("ref", "")))
            except ValueError as error:
                raise InvalidInput(f"registry cache importer: {error}") from None
        case "local":
            digest = attrs.get("digest", "")
            if not is_digest(digest):
                raise InvalidInput("local cache importer requires explicit digest")
            store = ClientStore(links, request.session, attrs.get("src", ""), Digest(digest))
        case other:
            raise Unsupported(f'cache import of type "{other[:100]}" is not supported by this server yet')
    try:
        return CacheImported(entries=await _read(store))
    except ValueError as error:
        raise InvalidInput(str(error)) from None


async def _read(store: Store) -> tuple[CacheEntry, ...]:
    data, media_type = await store.root()
    root = parse_manifest(data, media_type)
    if isinstance(root, Index):
        config = next((d for d in root.manifests if d.media_type == CACHE_CONFIG), None)
        layers = [d for d in root.manifests if d.media_type != CACHE_CONFIG]
    else:
        config = root.config if root.config.media_type == CACHE_CONFIG else None
        layers = list(root.layers)
    if config is None:
        return await _inline(store, root)
    known = {d.digest: layer for d in layers if (layer := descriptor_layer(d, source=store.source)) is not None}
    return decode_config(await store.read(config), known)


async def _inline(store: Store, root: Manifest | Index) -> tuple[CacheEntry, ...]:
    """From every image below; an image that can't be read doesn't hide the others."""
    manifests: list[Manifest] = []
    pending: list[Manifest | Index] = [root]
    while pending and len(manifests) < MAX_MANIFESTS:
        one = pending.pop(0)
        if isinstance(one, Manifest):
            manifests.append(one)
            continue
        for child in one.manifests[:MAX_MANIFESTS]:
            if is_manifest(child.media_type) or is_index(child.media_type):
                pending.append(parse_manifest(await store.read(child), child.media_type))
    found: list[CacheEntry] = []
    for manifest in manifests:
        try:
            entries = await _inline_of(store, manifest)
        except (ValueError, BuildmeshError):
            continue
        offset = len(found)
        found.extend(_moved(entry, offset) for entry in entries)
    if not found:
        raise NotFound("no cache in the image")
    return tuple(found)


def _made(history: object, count: int) -> list[tuple[int, str]]:
    """(when, how) each layer was made, as far as the image's history tells."""
    items = [i for i in history if isinstance(i, dict) and not i.get("empty_layer")] if isinstance(history, list) else []
    if len(items) != count:
        return [(0, "")] * count
    return [(parse_time(i.get("created")), str(i.get("created_by") or "")) for i in items]


def _moved(entry: CacheEntry, offset: int) -> CacheEntry:
    inputs = tuple(tuple(replace(name, entry=name.entry + offset) for name in names) for names in entry.inputs)
    return replace(entry, inputs=inputs)


async def _inline_of(store: Store, manifest: Manifest) -> tuple[CacheEntry, ...]:
    config = load_object(await store.read(manifest.config), "image config")
    value = config.get(INLINE_KEY)
    rootfs = config.get("rootfs")
    diff_ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(value, str) or not isinstance(diff_ids, list) or len(diff_ids) != len(manifest.layers):
        return ()
    made = _made(config.get("history"), len(diff_ids))
    layers = [
        Layer(
            digest=d.digest,
            diff_id=Digest(diff_id),
            size=d.size,
            media_type=d.media_type,
            source=store.source,
            created_at=created,
            description=how,
        )
        for d, diff_id, (created, how) in zip(manifest.layers, diff_ids, made, strict=True)
        if isinstance(diff_id, str) and is_digest(diff_id)
    ]
    if len(layers) != len(diff_ids):
        return ()
    try:
        records = base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError(f"invalid inline cache: {error}") from None
    return decode_inline(records, layers)
