"""Media types of images (OCI image-spec media-types.md; Docker image manifest v2 schema 2), and what they say of a blob."""

from enum import StrEnum

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_MANIFEST_V1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
IN_TOTO = "application/vnd.in-toto+json"

_OCI_NONDIST = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"

MANIFEST_TYPES = (OCI_MANIFEST, DOCKER_MANIFEST)
INDEX_TYPES = (OCI_INDEX, DOCKER_INDEX)
CONFIG_TYPES = (OCI_CONFIG, DOCKER_CONFIG)


class Compression(StrEnum):
    """How a layer blob is compressed. ESTARGZ is gzip with a table of contents."""

    UNCOMPRESSED = "uncompressed"
    GZIP = "gzip"
    ZSTD = "zstd"
    ESTARGZ = "estargz"


_SUFFIX = {Compression.UNCOMPRESSED: "", Compression.GZIP: "gzip", Compression.ESTARGZ: "gzip", Compression.ZSTD: "zstd"}
_LAYERS: dict[str, tuple[str, Compression, bool]] = {}  # media type -> (family, compression, foreign)
for _base, _sep, _family, _foreign in (
    (OCI_LAYER, "+", "oci", False),
    (_OCI_NONDIST, "+", "oci", True),
    (DOCKER_LAYER, ".", "docker", False),
    (_DOCKER_FOREIGN, ".", "docker", True),
):
    _LAYERS[_base] = (_family, Compression.UNCOMPRESSED, _foreign)
    _LAYERS[_base + _sep + "gzip"] = (_family, Compression.GZIP, _foreign)
    _LAYERS[_base + _sep + "zstd"] = (_family, Compression.ZSTD, _foreign)


def is_index(media_type: str) -> bool:
    """True for an OCI index or a Docker manifest list."""
    return media_type in INDEX_TYPES


def is_manifest(media_type: str) -> bool:
    """True for a single-image manifest of either family."""
    return media_type in MANIFEST_TYPES


def is_layer(media_type: str) -> bool:
    """True for a file system layer of either family, foreign ones included."""
    return media_type in _LAYERS


def is_foreign(media_type: str) -> bool:
    """True for layers that must not be pushed (non-distributable)."""
    return media_type in _LAYERS and _LAYERS[media_type][2]


def layer_media_type(compression: Compression, *, oci: bool, foreign: bool = False) -> str:
    """The media type of a layer compressed so, in the OCI or the Docker family."""
    base = (_OCI_NONDIST if foreign else OCI_LAYER) if oci else (_DOCKER_FOREIGN if foreign else DOCKER_LAYER)
    suffix = _SUFFIX[compression]
    return base + ("+" if oci else ".") + suffix if suffix else base


def layer_compression(media_type: str) -> Compression:
    """Raises ValueError for what is not a layer type."""
    if media_type not in _LAYERS:
        raise ValueError(f"not a layer media type: {media_type[:100]!r}")
    return _LAYERS[media_type][1]


def convert_media_type(media_type: str, *, oci: bool, keep_foreign: bool = True) -> str:
    """The same thing in the other family; unknown types stay as they are."""
    for oci_type, docker_type in ((OCI_INDEX, DOCKER_INDEX), (OCI_MANIFEST, DOCKER_MANIFEST), (OCI_CONFIG, DOCKER_CONFIG)):
        if media_type in (oci_type, docker_type):
            return oci_type if oci else docker_type
    if media_type in _LAYERS:
        _, compression, foreign = _LAYERS[media_type]
        return layer_media_type(compression, oci=oci, foreign=foreign and keep_foreign)
    return media_type


def detect_compression(head: bytes) -> Compression:
    """By the first bytes (BuildKit util/compression detectCompressionType): gzip 1f 8b 08, zstd 28 b5 2f fd."""
    if head[:3] == b"\x1f\x8b\x08":
        return Compression.GZIP
    if head[:4] == b"\x28\xb5\x2f\xfd":
        return Compression.ZSTD
    return Compression.UNCOMPRESSED
