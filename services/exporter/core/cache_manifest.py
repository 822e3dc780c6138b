"""The documents of a cache export (cache/remotecache/export.go): a config, and a manifest (or index) over it and its layers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from services.exporter.core.image import Document
from services.exporter.core.values import parse_bool, parse_flag
from shared.errors import InvalidInput
from shared.model import CacheEntry, Layer, sha256_digest
from shared.oci import Descriptor
from shared.oci.cache_config import CACHE_CONFIG, encode_config, layer_descriptor
from shared.oci.go_json import go_json
from shared.oci.media_types import DOCKER_INDEX, OCI_INDEX, OCI_MANIFEST, convert_media_type


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions:
    """`image_manifest`: an image manifest whose config is the cache config, instead of an index."""

    oci_types: bool = True
    image_manifest: bool = True
    insecure: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheImage:
    """What has to be written: layers first, the config, then the manifest, whose descriptor is `root`."""

    layers: tuple[Layer, ...]
    config: Document
    manifest: Document
    root: Descriptor


def parse_cache_options(attrs: Mapping[str, str]) -> CacheOptions:
    """Raises InvalidInput naming the attribute."""
    oci = parse_bool("oci-mediatypes", attrs["oci-mediatypes"]) if attrs.get("oci-mediatypes") else True
    image = parse_bool("image-manifest", attrs["image-manifest"]) if attrs.get("image-manifest") else oci
    if image and not oci:
        raise InvalidInput("cache exporter: image-manifest needs oci-mediatypes")
    insecure = "registry.insecure" in attrs and parse_flag("registry.insecure", attrs["registry.insecure"])
    return CacheOptions(oci_types=oci, image_manifest=image, insecure=insecure)


def cache_image(entries: Sequence[CacheEntry], options: CacheOptions) -> CacheImage | None:
    """None when no result goes along: then nothing is written."""
    config, layers = encode_config(entries)
    if not layers:
        return None
    config_descriptor = Descriptor(media_type=CACHE_CONFIG, digest=sha256_digest(config), size=len(config))
    described = [_typed(layer_descriptor(layer), options) for layer in layers]
    if options.image_manifest:
        kind, word = OCI_MANIFEST, "image manifest"
        document = {"config": config_descriptor.to_json(), "layers": [d.to_json() for d in described]}
    else:
        kind, word = OCI_INDEX if options.oci_types else DOCKER_INDEX, "manifest"
        document = {"manifests": [d.to_json() for d in (*described, config_descriptor)]}
    data = go_json({"schemaVersion": 2, "mediaType": kind} | document)
    digest = sha256_digest(data)
    return CacheImage(
        layers=layers,
        config=Document(
            digest=config_descriptor.digest, data=config, status=f"writing config {config_descriptor.digest}", media_type=CACHE_CONFIG
        ),
        manifest=Document(digest=digest, data=data, status=f"writing cache {word} {digest}", media_type=kind),
        root=Descriptor(media_type=kind, digest=digest, size=len(data)),
    )


def _typed(descriptor: Descriptor, options: CacheOptions) -> Descriptor:
    return replace(descriptor, media_type=convert_media_type(descriptor.media_type, oci=options.oci_types))
