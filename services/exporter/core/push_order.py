"""A push, written down so that any exporter can carry it out later: blobs first, then manifests, children before parents."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from services.exporter.core.image import Image
from shared.errors import InvalidInput
from shared.model import Layer, parse_digest
from shared.oci import Descriptor, descriptor_from_json
from shared.oci.media_types import is_index, is_manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class PushOrder:
    """`configs` and `layers` may go in any order; `manifests` in this order, the root last."""

    names: tuple[str, ...]
    by_digest: bool
    insecure: bool
    layers: tuple[Layer, ...]
    configs: tuple[Descriptor, ...]
    manifests: tuple[Descriptor, ...]


def push_order(image: Image, names: Sequence[str], *, by_digest: bool, insecure: bool) -> PushOrder:
    """The push of `image` to `names`."""
    configs: list[Descriptor] = []
    manifests: list[Descriptor] = []
    for document in image.documents:
        kind = document.media_type
        descriptor = Descriptor(media_type=kind, digest=document.digest, size=len(document.data))
        (manifests if is_manifest(kind) or is_index(kind) else configs).append(descriptor)
    manifests.sort(key=lambda d: d.digest == image.root.digest)
    return PushOrder(
        names=tuple(names),
        by_digest=by_digest,
        insecure=insecure,
        layers=image.layers,
        configs=tuple(configs),
        manifests=tuple(manifests),
    )


def encode_push(order: PushOrder) -> bytes:
    """For ExportDone.finalize."""
    value = {
        "names": order.names,
        "byDigest": order.by_digest,
        "insecure": order.insecure,
        "layers": [asdict(layer) for layer in order.layers],
        "configs": [d.to_json() for d in order.configs],
        "manifests": [d.to_json() for d in order.manifests],
    }
    return json.dumps(value).encode()


def decode_push(data: bytes) -> PushOrder:
    """Raises InvalidInput: it came over the bus."""
    try:
        value = json.loads(data)
        return PushOrder(
            names=tuple(str(n) for n in value["names"]),
            by_digest=value["byDigest"] is True,
            insecure=value["insecure"] is True,
            layers=tuple(_layer(v) for v in value["layers"]),
            configs=tuple(descriptor_from_json(v) for v in value["configs"]),
            manifests=tuple(descriptor_from_json(v) for v in value["manifests"]),
        )
    except (ValueError, KeyError, TypeError) as e:
        raise InvalidInput(f"invalid push order: {e}") from None


def _layer(value: dict[str, Any]) -> Layer:
    return Layer(
        digest=parse_digest(value["digest"]),
        diff_id=parse_digest(value["diff_id"]),
        size=int(value["size"]),
        media_type=str(value["media_type"]),
        source=str(value["source"]),
    )
