"""From an image to what is attested of it, and who signed that."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from services.executor.adapters.sources.attestation_chain import ChainReader
from services.executor.adapters.sources.image_store import KeptDocuments
from shared.blobs.memory import MemoryBlobs
from shared.bus.memory import MemoryBus
from shared.errors import BuildmeshError, InvalidInput, NotFound
from shared.model import Digest, Platform, sha256_digest
from shared.oci import Descriptor, Index, Manifest
from shared.oci.media_types import OCI_CONFIG, OCI_MANIFEST
from shared.wire.source_facts import AttestationChain

AMD64 = Platform(os="linux", architecture="amd64")
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
COSIGN = "application/vnd.dev.cosign.artifact.sig.v1+json"
SLSA = "https://slsa.dev/provenance/v1"
DHI = {"com.docker.dhi.build.id": "1"}


class Origin:
    """A repository in memory."""

    source = "example.org/x"

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.referring: dict[str, list[Descriptor]] = {}

    def add(self, data: bytes, media_type: str = OCI_MANIFEST, **more: Any) -> Descriptor:
        digest = sha256_digest(data)
        self.documents[digest] = data
        return Descriptor(media_type=media_type, digest=digest, size=len(data), **more)

    def manifest_of(self, *layers: Descriptor, **more: Any) -> Descriptor:
        return self.add(Manifest(config=self.add(b"{}", OCI_CONFIG), layers=layers).encode(), **more)

    async def manifest(self, descriptor: Descriptor) -> bytes:
        return self.documents[descriptor.digest]

    async def blob(self, digest: Digest, size: int) -> AsyncIterator[bytes]:
        yield self.documents[digest]

    async def referrers(self, digest: Digest) -> Sequence[Descriptor]:
        return self.referring.get(digest, [])

    async def read(self, index: Index | Manifest, *predicates: str) -> AttestationChain | None:
        origin: Any = self
        documents = KeptDocuments(MemoryBlobs(), await MemoryBus().bucket("origins"))
        return await ChainReader(origin, documents).read(self.add(index.encode()).digest, AMD64, predicates, "x")


def statement(origin: Origin, data: bytes, kind: str) -> Descriptor:
    return origin.add(data, "application/vnd.in-toto+json", annotations={"in-toto.io/predicate-type": kind})


def attested(origin: Origin, image: Descriptor) -> Descriptor:
    about = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.digest}
    layers = (statement(origin, b"spdx", "https://spdx.dev/Document"), statement(origin, b"slsa", SLSA))
    return origin.manifest_of(*layers, annotations=about, platform=Platform(os="unknown", architecture="unknown"))


async def test_the_chain_of_an_image() -> None:
    """A bundle before a plain signature; statements only of wanted types; the image manifest is named, but not sent."""
    origin = Origin()
    image = origin.manifest_of(platform=AMD64)
    attestation = attested(origin, image)
    plain = origin.manifest_of(artifact_type=COSIGN)
    bundle = origin.manifest_of(origin.add(b"signature", BUNDLE), artifact_type=BUNDLE)
    origin.referring[attestation.digest] = [origin.add(b"x", "a/b"), plain, bundle]
    index = Index(manifests=(image, attestation))

    found = await origin.read(index, SLSA, "")

    assert found is not None
    assert (found.root, found.image_manifest) == (sha256_digest(index.encode()), image.digest)
    assert (found.attestation_manifest, found.signature_manifests) == (attestation.digest, (bundle.digest,))
    texts = {blob.data for blob in found.blobs.values()}
    assert {b"signature", b"slsa"} < texts
    assert b"spdx" not in texts
    assert len(found.blobs) == 5
    assert all(sha256_digest(blob.data) == digest == blob.digest for digest, blob in found.blobs.items())


async def test_an_image_that_nothing_is_attested_of() -> None:
    origin = Origin()
    image = origin.manifest_of(platform=AMD64)

    found = await origin.read(Index(manifests=(image,)))

    assert found is not None
    assert (found.image_manifest, found.attestation_manifest, len(found.blobs)) == (image.digest, "", 1)
    assert await origin.read(Manifest(config=image, layers=())) is None
    with pytest.raises(NotFound, match="no match for platform"):
        await origin.read(Index(manifests=(origin.manifest_of(platform=Platform(os="windows", architecture="amd64")),)))


async def test_hardened_images_keep_attestations_beside_the_index() -> None:
    origin = Origin()
    image = origin.manifest_of(platform=AMD64, annotations=DHI)
    index = Index(manifests=(image,), annotations={"org.opencontainers.image.title": "dhi/x"})
    with pytest.raises(NotFound, match="no attestation referrers"):
        await origin.read(index)
    apart = origin.manifest_of(artifact_type="application/vnd.in-toto+json", annotations={"in-toto.io/predicate-type": SLSA})
    origin.referring[image.digest] = [apart]

    found = await origin.read(index)

    assert found is not None
    assert found.attestation_manifest == apart.digest


@pytest.mark.parametrize("bad", [b"{", b'{"manifests": [], "layers": []}', Index(manifests=()).encode()])
async def test_documents_that_are_none(bad: bytes) -> None:
    origin = Origin()
    image = origin.manifest_of(platform=AMD64)
    about = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.digest}

    with pytest.raises(BuildmeshError) as caught:
        await origin.read(Index(manifests=(image, origin.add(bad, annotations=about))))

    assert isinstance(caught.value, InvalidInput)


async def test_statements_have_a_bound() -> None:
    origin = Origin()
    image = origin.manifest_of(platform=AMD64)
    huge = Descriptor(media_type="a/b", digest=sha256_digest(b""), size=1 << 40, annotations={"in-toto.io/predicate-type": SLSA})
    about = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.digest}

    with pytest.raises(InvalidInput, match="is larger than"):
        await origin.read(Index(manifests=(image, origin.manifest_of(huge, annotations=about))), SLSA)
