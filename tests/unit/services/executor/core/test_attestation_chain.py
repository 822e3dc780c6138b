"""Choices that whole chains (adapters) don't show."""

from services.executor.core.attestation_chain import (
    attestation_of,
    keeps_attestations_apart,
    provenance_among,
    signature_among,
    statements_of,
)
from shared.model import sha256_digest
from shared.oci import Descriptor, Index, Manifest

IMAGE = Descriptor(media_type="a/b", digest=sha256_digest(b"image"), size=1)


def test_only_what_speaks_of_this_image_counts() -> None:
    other = Descriptor(
        media_type="a/b",
        digest=sha256_digest(b"other"),
        size=1,
        annotations={"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": sha256_digest(b"not it")},
    )

    assert attestation_of(Index(manifests=(IMAGE, other)), IMAGE) is None
    assert attestation_of(Index(manifests=(IMAGE, other)), Descriptor(media_type="", digest=sha256_digest(b"not it"), size=0)) is other


def test_other_referrers_are_nothing() -> None:
    assert signature_among([IMAGE]) is None
    assert provenance_among([IMAGE]) is None
    assert statements_of(Manifest(config=IMAGE, layers=(IMAGE,)), ["", "t"]) == []
    assert not keeps_attestations_apart(Index(manifests=(IMAGE,), annotations={"org.opencontainers.image.title": "dhi/x"}))
