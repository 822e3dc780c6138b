"""What is asked and told about sources besides their pins (gateway.proto ResolveSourceMeta…)."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageWish:
    """`chain`: the attestation chain; `predicates`: types of attestations whose statements are wanted, too."""

    chain: bool = False
    predicates: tuple[str, ...] = ()

    @property
    def any(self) -> bool:
        return self.chain or bool(self.predicates)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecksumWish:
    """A digest over a body with `suffix` behind it; `algorithm` as in gateway.proto ChecksumRequest (sha256, 384, 512)."""

    algorithm: int
    suffix: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainBlob:
    """A document with its descriptor."""

    media_type: str
    digest: str
    size: int
    data: bytes
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class AttestationChain:
    """From an index to what is attested of one image in it, and to who signed that; digests, "" for what there is none of.

    `blobs` by digest: the index, the attestation manifest, the signature manifest with its layers, statements that were asked for.
    """

    root: str
    image_manifest: str = ""
    attestation_manifest: str = ""
    signature_manifests: tuple[str, ...] = ()
    blobs: Mapping[str, ChainBlob] = field(default_factory=dict)
