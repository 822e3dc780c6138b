"""Image documents from packed layers: config, manifest, index, the root descriptor and the client's answer (exporter writer.go)."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from services.exporter.core import epoch as epochs
from services.exporter.core.annotations import Placed, check, place, split_annotations
from services.exporter.core.attestations import Predicate, carrier, image_subjects, statement
from services.exporter.core.history import clamp, config_bytes, normalize, parse_config, parse_history
from services.exporter.core.options import Options, check_conflicts
from shared.errors import InvalidInput
from shared.model import CacheEntry, Digest, Layer, Platform, sha256_digest
from shared.oci import Descriptor, Index, Manifest, convert_media_type, default_image_config, go_json
from shared.oci.cache_config import INLINE_KEY, encode_inline
from shared.oci.media_types import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, is_foreign
from shared.oci.result_platforms import BASE_CONFIG_KEY, CONFIG_KEY, TargetPlatform, keyed

CREATED = "org.opencontainers.image.created"
REWRITTEN = "buildkit/rewritten-timestamp"


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A small blob that the export made. `status` is its progress line, such as `exporting manifest sha256:…`; "" = none is shown."""

    digest: Digest
    data: bytes
    status: str
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """Everything made: `documents` in the order they are reported; `layers` are all layers, each digest once."""

    root: Descriptor
    documents: tuple[Document, ...]
    layers: tuple[Layer, ...]
    config_digest: Digest | None = None
    is_index: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One platform of the result with its packed layers."""

    target: TargetPlatform
    layers: tuple[Layer, ...] = ()
    inline_cache: tuple[CacheEntry, ...] = ()
    attestations: tuple[Predicate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlan:
    """What is known before the layers are packed. `default` is the platform of a result that names none.

    `is_map`: an index is made; `names`: of the image, comma separated, for the subjects of attestations.
    """

    options: Options
    metadata: Mapping[str, bytes]
    is_map: bool
    names: str = ""
    default: Platform
    compatibility: int = 30
    oci: bool = field(default=True)


def plan_image(
    options: Options, metadata: Mapping[str, bytes], *, is_map: bool, default: Platform, compatibility: int, attested: bool = False
) -> ImagePlan:
    """Merge unknown attributes into the metadata, settle the defaults, find contradictions (InvalidInput)."""
    merged = {**metadata, **{k: v.encode() for k, v in options.extra.items()}}
    # the frontend may annotate, too; what it says comes later and wins
    theirs, _ = split_annotations((k, v.decode(errors="replace")) for k, v in metadata.items() if k.startswith("annotation"))
    options = replace(options, annotations=(*options.annotations, *theirs))
    oci = options.use_oci_types(compatibility, attested=attested)
    check_conflicts(options, oci_types=oci)
    if attested and not oci and is_map:
        raise InvalidInput('cannot export attestations with "oci-mediatypes=false"')
    names = options.name if options.name != "*" else merged.get("image.name", b"*").decode("utf-8", "replace")
    return ImagePlan(options=options, metadata=merged, is_map=is_map, names=names, default=default, compatibility=compatibility, oci=oci)


def platform_epoch(plan: ImagePlan, target: TargetPlatform) -> int | None:
    """The epoch (s) that this platform's times are clamped to, None = none."""
    return epochs.choose(plan.options.epoch, plan.metadata, target.id)


def base_diff_ids(plan: ImagePlan, target: TargetPlatform) -> tuple[str, ...]:
    """Diff ids of the base image, as far as its config is known: these layers are never rewritten."""
    data = keyed(plan.metadata, BASE_CONFIG_KEY, target.id)
    rootfs = parse_config(data).get("rootfs") if data else None
    ids = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    return tuple(str(d) for d in ids) if isinstance(ids, list) else ()


def build_image(plan: ImagePlan, parts: Sequence[Part]) -> Image:
    """All documents of the image. Raises InvalidInput for bad configs, annotations or platforms."""
    parts = [replace(part, layers=final_layers(plan, part.layers)) for part in parts]
    check(plan.options.annotations, platform_ids=[p.target.id for p in parts], oci_types=plan.oci)
    if plan.is_map:
        return _index(plan, parts)
    if len(parts) != 1:
        raise InvalidInput("cannot export multiple platforms without multi-platform enabled")
    general = place(plan.options.annotations, None)
    if general.index or general.index_descriptor:
        raise InvalidInput("index annotations not supported for single platform export")
    manifest, documents, config = _manifest(plan, parts[0], general)
    root = replace(manifest, platform=parts[0].target.platform)
    return Image(root=root, documents=documents, layers=_unique(parts), config_digest=config)


def _index(plan: ImagePlan, parts: Sequence[Part]) -> Image:
    general = place(plan.options.annotations, None)
    documents: list[Document] = []
    children: list[Descriptor] = []
    carriers: list[Descriptor] = []
    for part in parts:
        placed = place(plan.options.annotations, part.target.id)
        manifest, made, _ = _manifest(plan, part, placed)
        children.append(replace(manifest, platform=part.target.platform))
        documents += made
        if part.attestations:
            descriptor, made = _attested(plan, part, manifest)
            carriers.append(descriptor)
            documents += made
    index = Index(manifests=(*children, *carriers), media_type=convert_media_type(OCI_INDEX, oci=plan.oci), annotations=general.index)
    data = index.encode()
    digest = sha256_digest(data)
    documents.append(Document(digest=digest, data=data, status=f"exporting manifest list {digest}", media_type=index.media_type))
    root = Descriptor(media_type=index.media_type, digest=digest, size=len(data), annotations=general.index_descriptor)
    return Image(root=root, documents=tuple(documents), layers=_unique(parts), is_index=True)


def _attested(plan: ImagePlan, part: Part, manifest: Descriptor) -> tuple[Descriptor, tuple[Document, ...]]:
    """The manifest of what is attested of one image."""
    own = image_subjects(plan.names, part.target.platform, manifest.digest)
    artifact = plan.options.oci_artifact if plan.options.oci_artifact is not None else plan.compatibility >= 30
    made = carrier(manifest, [statement(predicate, own) for predicate in part.attestations], artifact=artifact)
    status = f"exporting attestation manifest {made.descriptor.digest}"
    documents = [Document(digest=d.digest, data=data, status="", media_type=d.media_type) for d, data in made.blobs]
    return made.descriptor, (replace(documents[0], status=status), *documents[1:])


def _manifest(plan: ImagePlan, part: Part, placed: Placed) -> tuple[Descriptor, tuple[Document, ...], Digest]:
    config = _config(plan, part)
    config_digest = sha256_digest(config)
    manifest = Manifest(
        config=Descriptor(media_type=convert_media_type(OCI_CONFIG, oci=plan.oci), digest=config_digest, size=len(config)),
        layers=_layer_descriptors(plan, part),
        media_type=convert_media_type(OCI_MANIFEST, oci=plan.oci),
        annotations=placed.manifest,
    )
    data = manifest.encode()
    digest = sha256_digest(data)
    documents = (
        Document(digest=digest, data=data, status=f"exporting manifest {digest}", media_type=manifest.media_type),
        Document(digest=config_digest, data=config, status=f"exporting config {config_digest}", media_type=manifest.config.media_type),
    )
    descriptor = Descriptor(media_type=manifest.media_type, digest=digest, size=len(data), annotations=placed.manifest_descriptor)
    return descriptor, documents, config_digest


def _config(plan: ImagePlan, part: Part) -> bytes:
    data = keyed(plan.metadata, CONFIG_KEY, part.target.id)
    document = parse_config(data or go_json(default_image_config(plan.default)))
    history = normalize(parse_history(document), part.layers)
    epoch = platform_epoch(plan, part.target)
    if epoch is not None:
        base = keyed(plan.metadata, BASE_CONFIG_KEY, part.target.id)
        history = clamp(history, parse_history(parse_config(base)) if base else [], epoch)
    cache = encode_inline(part.inline_cache, part.layers) if part.inline_cache else b""
    if cache:
        document = {**document, INLINE_KEY: base64.b64encode(cache).decode()}
    return config_bytes(document, diff_ids=[layer.diff_id for layer in part.layers], history=history, epoch=epoch)


def _layer_descriptors(plan: ImagePlan, part: Part) -> tuple[Descriptor, ...]:
    """With OCI types a layer whose times were rewritten says so (util/converter/tarconverter); base layers never are."""
    epoch = platform_epoch(plan, part.target) if plan.options.rewrite_timestamp and plan.oci else None
    mark = {} if epoch is None else {REWRITTEN: str(epoch)}
    base = len(base_diff_ids(plan, part.target))
    return tuple(_layer_descriptor(layer, {} if i < base else mark) for i, layer in enumerate(part.layers))


def _layer_descriptor(layer: Layer, annotations: Mapping[str, str]) -> Descriptor:
    return Descriptor(media_type=layer.media_type, digest=layer.digest, size=layer.size, urls=layer.urls, annotations=annotations)


def final_layers(plan: ImagePlan, layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Layers with the media types that the image gives them; foreign ones stay so (with their URLs) only if that is preferred."""
    out = []
    for layer in layers:
        media_type = convert_media_type(layer.media_type, oci=plan.oci, keep_foreign=plan.options.prefer_nondist)
        out.append(replace(layer, media_type=media_type, urls=layer.urls if is_foreign(media_type) else ()))
    return tuple(out)


def _unique(parts: Sequence[Part]) -> tuple[Layer, ...]:
    found: dict[Digest, Layer] = {}
    for part in parts:
        for layer in part.layers:
            found.setdefault(layer.digest, layer)
    return tuple(found.values())


def response(image: Image, *, names: str, created: str = "") -> tuple[dict[str, str], Descriptor]:
    """The client's ExporterResponse and the root descriptor in it. `created` adds the annotation that archives carry."""
    root = image.root
    if created and CREATED not in root.annotations:
        root = replace(root, annotations={**root.annotations, CREATED: created})
    out: dict[str, str] = {"containerimage.digest": root.digest}
    if image.config_digest is not None:
        out["containerimage.config.digest"] = image.config_digest
    out["containerimage.descriptor"] = base64.b64encode(go_json(root.to_json())).decode()
    if names:
        out["image.name"] = names
    return out, root
