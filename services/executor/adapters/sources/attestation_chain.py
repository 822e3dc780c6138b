"""Reads the attestation chain of an image from its registry (source/containerimage/source.go ResolveImageMetadata).

Everything behind the index is read from there, even if the blob store has it: an index may name any digest, also those of others.
"""

from collections.abc import Sequence

from services.executor.adapters.sources.image_store import MAX_DOCUMENT, ImageOrigin, KeptDocuments
from services.executor.core.attestation_chain import (
    attestation_of,
    keeps_attestations_apart,
    provenance_among,
    signature_among,
    statements_of,
)
from shared.errors import InvalidInput, NotFound
from shared.model import Digest, Platform, format_platform
from shared.oci import Descriptor, Index, Manifest, parse_manifest
from shared.oci.media_types import OCI_INDEX
from shared.wire.source_facts import AttestationChain, ChainBlob

MOST_BYTES = 64 << 20


class ChainReader:
    """Of one repository."""

    def __init__(self, origin: ImageOrigin, documents: KeptDocuments) -> None:
        self._origin, self._documents = origin, documents
        self._blobs: dict[str, ChainBlob] = {}

    async def read(self, root: Digest, platform: Platform, predicates: Sequence[str], name: str) -> AttestationChain | None:
        """None for what is no OCI index. Raises NotFound without an image for the platform, InvalidInput for documents that are none."""
        data = await self._documents.root(self._origin, Descriptor(media_type="", digest=root, size=0))
        index = _parsed(data, name)
        if not isinstance(index, Index) or index.media_type != OCI_INDEX:
            return None
        image = index.select(platform)
        if image is None:
            raise NotFound(f"no match for platform in manifest: {name} has no {format_platform(platform)}")
        self._keep(Descriptor(media_type=OCI_INDEX, digest=root, size=len(data)), data)
        attestation = await self._attestation(index, image)
        if attestation is None:
            return AttestationChain(root=root, image_manifest=image.digest, blobs=self._blobs)
        manifest = await self._manifest(attestation)
        signature = signature_among(await self._origin.referrers(attestation.digest))
        if signature is not None:
            for layer in (await self._manifest(signature)).layers:
                await self._blob(layer)
        for layer in statements_of(manifest, predicates):
            await self._blob(layer)
        return AttestationChain(
            root=root,
            image_manifest=image.digest,
            attestation_manifest=attestation.digest,
            signature_manifests=(signature.digest,) if signature is not None else (),
            blobs=self._blobs,
        )

    async def _attestation(self, index: Index, image: Descriptor) -> Descriptor | None:
        if not keeps_attestations_apart(index):
            return attestation_of(index, image)
        found = provenance_among(await self._origin.referrers(image.digest))
        if found is None:
            raise NotFound(f"no attestation referrers found for DHI manifest {image.digest}")
        return found

    async def _manifest(self, descriptor: Descriptor) -> Manifest:
        data = await self._origin.manifest(descriptor)
        self._keep(descriptor, data)
        manifest = _parsed(data, descriptor.digest)
        if not isinstance(manifest, Manifest):
            raise InvalidInput(f"{descriptor.digest} is no manifest")
        return manifest

    async def _blob(self, descriptor: Descriptor) -> None:
        if descriptor.digest not in self._blobs:
            if descriptor.size > MAX_DOCUMENT:
                raise InvalidInput(f"{descriptor.digest} is larger than {MAX_DOCUMENT} bytes")
            chunks = [chunk async for chunk in self._origin.blob(descriptor.digest, descriptor.size)]
            self._keep(descriptor, b"".join(chunks))

    def _keep(self, descriptor: Descriptor, data: bytes) -> None:
        self._blobs[descriptor.digest] = ChainBlob(
            media_type=descriptor.media_type,
            digest=descriptor.digest,
            size=len(data),
            data=data,
            annotations=descriptor.annotations,
        )
        if sum(len(blob.data) for blob in self._blobs.values()) > MOST_BYTES:
            raise InvalidInput(f"what is attested of an image is larger than {MOST_BYTES} bytes")


def _parsed(data: bytes, name: str) -> Manifest | Index:
    try:
        return parse_manifest(data)
    except ValueError as error:
        raise InvalidInput(f"{name}: {error}") from None
