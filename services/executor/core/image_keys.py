"""Cache keys of sources, bit-exact with BuildKit's (solver/llbsolver/ops/source.go, source/containerimage/pull.go)."""

import hashlib
from collections.abc import Sequence
from typing import Any

from shared.errors import InvalidInput
from shared.model import Digest, Platform
from shared.oci import ImageConfig, chain_id, go_json


def source_key(key: str) -> str:
    """The cache-map digest of a source whose own key is `key`; `session:` keys are marked random and never persisted."""
    digest = hashlib.sha256(b"buildkit.source.v0:" + key.encode()).hexdigest()
    return f"random:{digest}" if key.startswith("session:") else f"sha256:{digest}"


def manifest_key(digest: Digest, platform: Platform, layer_limit: int | None) -> str:
    """By the root digest and the platform that was asked for."""
    value: dict[str, Any] = {"Digest": digest, "OS": platform.os, "Arch": platform.architecture}
    if platform.variant:
        value["Variant"] = platform.variant
    if platform.os_version:
        value["OSVersion"] = platform.os_version
    if platform.os_features:
        value["OSFeatures"] = list(platform.os_features)
    if layer_limit is not None:
        value["Limit"] = layer_limit
    return "sha256:" + hashlib.sha256(go_json(value)).hexdigest()


def config_key(config: ImageConfig, layer_limit: int | None) -> str:
    """By the layers' chain id, so that another tag with equal layers hits; "" when the config has no layers."""
    diff_ids: Sequence[Digest] = config.diff_ids
    if layer_limit is not None:
        if len(diff_ids) < layer_limit:
            raise InvalidInput(f"image has {len(diff_ids)} layers, limit is {layer_limit}")
        diff_ids = diff_ids[:layer_limit]
    if not config.layered or not diff_ids:
        return ""
    return chain_id(diff_ids) or ""
