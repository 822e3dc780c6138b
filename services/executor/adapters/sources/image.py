"""Images: resolving downloads manifests and the config only; the Ref it gives is lazy (layers, no home)."""

from dataclasses import dataclass

from services.executor.adapters.sources.attestation_chain import ChainReader
from services.executor.adapters.sources.image_store import ImageOrigin, KeptDocuments, Origins
from services.executor.core.image_keys import config_key, manifest_key, source_key
from services.executor.core.source_ids import ImageSource, Source
from services.executor.ports import Reporter
from shared.errors import InvalidInput, NotFound
from shared.model import Digest, Layer, Platform, Ref, format_platform
from shared.oci import Descriptor, ImageConfig, Index, Manifest, chain_id, parse_image_config, parse_manifest
from shared.oci.media_types import is_layer
from shared.wire.messages import ResolveSource, RunOp, Scope, SourceResolved
from shared.wire.source_facts import AttestationChain

_MAX_NESTING = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class PulledImage:
    """What is known of an image without its layers' bytes."""

    root: Digest
    manifest: Manifest
    config: ImageConfig
    config_bytes: bytes
    layers: tuple[Layer, ...]


class ImageDriver:
    """`docker-image://` and `oci-layout://`."""

    def __init__(self, origins: Origins, documents: KeptDocuments) -> None:
        self._origins = origins
        self._documents = documents

    async def resolve(self, source: Source, request: ResolveSource, report: Reporter) -> SourceResolved:
        """Keys by manifest and by layer chain; the image config for frontends. Errors name the reference."""
        assert isinstance(source, ImageSource)
        status = f"resolve {source.reference}"
        report.status(status)
        try:
            image = await self._pull(source, request.platform, request.scope, report)
        finally:
            report.status(status, done=True)
        if source.checksum and image.root != source.checksum:
            raise InvalidInput(f"image digest {image.root} for {source.reference} does not match expected checksum {source.checksum}")
        keys = [manifest_key(image.root, request.platform, source.layer_limit)]
        if second := config_key(image.config, source.layer_limit):
            keys.append(second)
        ref = image_ref(image.layers)
        chain = await self._chain(source, image.root, request) if request.image.any and not source.oci_layout else None
        return SourceResolved(
            keys=tuple(source_key(k) for k in keys),
            pin=image.root,
            ref=ref,
            scratch=ref is None,
            name=str(source.reference),
            image_digest=image.root,
            image_config=b"" if request.no_config else image.config_bytes,
            chain=chain,
        )

    async def _chain(self, source: ImageSource, root: Digest, request: ResolveSource) -> AttestationChain | None:
        origin = self._origins.of(source, request.scope.sessions)
        documents = self._documents.of(request.scope.identity)
        return await ChainReader(origin, documents).read(root, request.platform, request.image.predicates, str(source.reference))

    async def make(self, source: Source, request: RunOp, report: Reporter) -> Ref | None:
        """The lazy Ref of what was resolved; resolves anew when the task does not carry it."""
        assert isinstance(source, ImageSource)
        if request.resolved is not None and (request.resolved.ref is not None or request.resolved.scratch):
            return request.resolved.ref
        image = await self._pull(source, request.platform, request.scope, report)
        return image_ref(image.layers)

    async def _pull(self, source: ImageSource, platform: Platform, scope: Scope, report: Reporter) -> PulledImage:
        documents = self._documents.of(scope.identity)
        origin = self._origins.of(source, scope.sessions, lambda text: report.log(2, text.encode() + b"\n"))
        root = await self._root(origin, source)
        manifest = await self._select(documents, origin, root, platform, str(source.reference))
        data = await documents.config(origin, manifest.config)
        try:
            config = parse_image_config(data)
        except ValueError as e:
            raise InvalidInput(f"{source.reference}: {e}") from None
        layers = _layers(manifest, config, origin.source, str(source.reference))
        limit = source.layer_limit
        if limit is not None and limit > len(layers):
            raise InvalidInput(f"layer limit {limit} is greater than the number of layers in the image {len(layers)}")
        return PulledImage(root=root.digest, manifest=manifest, config=config, config_bytes=data, layers=layers[:limit])

    async def _root(self, origin: ImageOrigin, source: ImageSource) -> Descriptor:
        """A pinned reference that we have seen needs no network."""
        digest = source.reference.digest
        if digest is not None and not source.oci_layout:
            return Descriptor(media_type="", digest=digest, size=0)
        return await origin.root()

    async def _select(self, documents: KeptDocuments, origin: ImageOrigin, root: Descriptor, platform: Platform, name: str) -> Manifest:
        descriptor = root
        for depth in range(_MAX_NESTING):
            read = documents.manifest if depth else documents.root
            data = await read(origin, descriptor)
            try:
                document = parse_manifest(data, descriptor.media_type)
            except ValueError as e:
                raise InvalidInput(f"{name}: {e}") from None
            if isinstance(document, Manifest):
                return document
            descriptor = _child(document, platform, name)
        raise InvalidInput(f"{name}: indexes nested deeper than {_MAX_NESTING}")


def _child(index: Index, platform: Platform, name: str) -> Descriptor:
    child = index.select(platform)
    if child is None:
        raise NotFound(f"no match for platform in manifest: {name} has no {format_platform(platform)}")
    return child


def _layers(manifest: Manifest, config: ImageConfig, source: str, name: str) -> tuple[Layer, ...]:
    descriptors = [d for d in manifest.layers if is_layer(d.media_type)]
    if len(descriptors) != len(config.diff_ids):
        raise InvalidInput(f"{name}: mismatched image rootfs and manifest layers")
    return tuple(
        Layer(
            digest=d.digest,
            diff_id=diff_id,
            size=d.size,
            media_type=d.media_type,
            source=source,
            description=f"pulled from {name}",
            urls=d.urls,
        )
        for d, diff_id in zip(descriptors, config.diff_ids, strict=True)
    )


def image_ref(layers: tuple[Layer, ...]) -> Ref | None:
    """A lazy Ref named by its chain, so that everybody who resolves the image gets the same one; None without layers."""
    chain = chain_id([layer.diff_id for layer in layers])
    if chain is None:
        return None
    return Ref(id="image-" + chain.partition(":")[2], layers=layers)
