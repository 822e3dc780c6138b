"""Checks an image before it leaves the house, and tells everything that is wrong at once."""

from collections.abc import Mapping

from shared.model import Digest, sha256_digest
from shared.oci.image_config import parse_image_config
from shared.oci.manifest import Index, Manifest, parse_manifest
from shared.oci.media_types import CONFIG_TYPES, is_layer


def validate_image(root: Digest, documents: Mapping[Digest, bytes], *, media_type: str = "") -> list[str]:
    """Problems of the image at `root`, empty = sound. `documents` holds the bytes of every manifest, index and config.

    Layers are checked by their descriptors only (the blob store has verified their bytes).
    """
    data = documents.get(root)
    if data is None:
        return [f"{root}: document missing"]
    if sha256_digest(data) != root:
        return [f"{root}: bytes do not match the digest"]
    try:
        parsed = parse_manifest(data, media_type)
    except ValueError as e:
        return [f"{root}: {e}"]
    if isinstance(parsed, Index):
        problems = [p for d in parsed.manifests for p in validate_image(d.digest, documents, media_type=d.media_type)]
        false_sizes = [d for d in parsed.manifests if len(documents.get(d.digest, b"")) != d.size]
        return problems + [f"{d.digest}: size {d.size} is not true" for d in false_sizes]
    return _validate_manifest(root, parsed, documents)


def _validate_manifest(root: Digest, manifest: Manifest, documents: Mapping[Digest, bytes]) -> list[str]:
    if manifest.config.media_type not in CONFIG_TYPES:
        return []  # an artifact: its config is not an image config
    data = documents.get(manifest.config.digest)
    if data is None:
        return [f"{root}: config {manifest.config.digest} missing"]
    problems = []
    if sha256_digest(data) != manifest.config.digest or len(data) != manifest.config.size:
        problems.append(f"{root}: config does not match its descriptor")
    try:
        config = parse_image_config(data)
    except ValueError as e:
        return [*problems, f"{root}: {e}"]
    layers = [d for d in manifest.layers if is_layer(d.media_type)]
    if len(config.diff_ids) != len(layers):
        problems.append(f"{root}: {len(layers)} layers but {len(config.diff_ids)} diff ids")
    filled = sum(1 for h in config.history() if not h.get("empty_layer"))
    if config.history() and filled != len(layers):
        problems.append(f"{root}: {len(layers)} layers but {filled} non-empty history entries")
    return problems
