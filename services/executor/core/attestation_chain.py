"""Which manifests of an index attest something of an image, and which of their referrers are signatures (moby/policy-helpers, image)."""

from collections.abc import Sequence

from shared.oci import Descriptor, Index, Manifest

IN_TOTO_JSON = "application/vnd.in-toto+json"
_SIGNATURES = ("application/vnd.dev.sigstore.bundle.v0.3+json", "application/vnd.dev.cosign.artifact.sig.v1+json")
"""Those that are taken, best first."""
_PROVENANCE = ("https://slsa.dev/provenance/v0.2", "https://slsa.dev/provenance/v1")
_PREDICATE = "in-toto.io/predicate-type"


def attestation_of(index: Index, image: Descriptor) -> Descriptor | None:
    """The index's entry that speaks of this image."""
    wanted = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image.digest}
    return next((d for d in index.manifests if wanted.items() <= d.annotations.items()), None)


def keeps_attestations_apart(index: Index) -> bool:
    """Docker hardened images: what is attested refers to the image instead of standing in its index."""
    built = all(child.annotations.get("com.docker.dhi.build.id") for child in index.manifests)
    return built and index.annotations.get("org.opencontainers.image.title", "").startswith("dhi/")


def provenance_among(referrers: Sequence[Descriptor]) -> Descriptor | None:
    """The first that is provenance."""
    found = (d for d in referrers if d.artifact_type == IN_TOTO_JSON and d.annotations.get(_PREDICATE) in _PROVENANCE)
    return next(found, None)


def signature_among(referrers: Sequence[Descriptor]) -> Descriptor | None:
    """The one that counts: a bundle before a plain signature."""
    signatures = [d for d in referrers if d.artifact_type in _SIGNATURES]
    return min(signatures, key=lambda d: _SIGNATURES.index(d.artifact_type), default=None)


def statements_of(manifest: Manifest, predicates: Sequence[str]) -> list[Descriptor]:
    """Layers of an attestation manifest that are of these predicate types."""
    wanted = {predicate for predicate in predicates if predicate}
    return [layer for layer in manifest.layers if layer.annotations.get(_PREDICATE) in wanted]
