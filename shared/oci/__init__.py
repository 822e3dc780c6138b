"""OCI and Docker images as values: descriptors, manifests, indexes, configs, layers, references. Pure: bytes in, values out.

Nouns: descriptor (names a blob), manifest (one image), index (several), image config, diff id and chain id (identities of layers),
reference (name of an image in a registry). Decoders validate and raise ValueError; encoders give the bytes BuildKit would write.
"""

from shared.oci.descriptor import Descriptor, descriptor_from_json, platform_from_json, platform_to_json
from shared.oci.go_json import go_json, go_json_indent, load_object
from shared.oci.image_config import ImageConfig, default_image_config, parse_image_config, with_rootfs
from shared.oci.layer import EMPTY_TAR_DIFF_ID, OPAQUE_MARKER, WHITEOUT_PREFIX, chain_id, chain_ids, whiteout_target
from shared.oci.manifest import Index, Manifest, parse_manifest
from shared.oci.media_types import Compression, convert_media_type, detect_compression, layer_compression, layer_media_type
from shared.oci.platforms import best_match, platform_chain
from shared.oci.reference import Reference, parse_reference
from shared.oci.validate import validate_image

__all__ = [
    "EMPTY_TAR_DIFF_ID",
    "OPAQUE_MARKER",
    "WHITEOUT_PREFIX",
    "Compression",
    "Descriptor",
    "ImageConfig",
    "Index",
    "Manifest",
    "Reference",
    "best_match",
    "chain_id",
    "chain_ids",
    "convert_media_type",
    "default_image_config",
    "descriptor_from_json",
    "detect_compression",
    "go_json",
    "go_json_indent",
    "layer_compression",
    "layer_media_type",
    "load_object",
    "parse_image_config",
    "parse_manifest",
    "parse_reference",
    "platform_chain",
    "platform_from_json",
    "platform_to_json",
    "validate_image",
    "whiteout_target",
    "with_rootfs",
]
