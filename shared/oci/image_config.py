"""The image config: what a manifest's config blob says (OCI image-spec config.md). Unknown fields are kept as they came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shared.model import Digest, Platform, parse_digest
from shared.oci.descriptor import platform_from_json
from shared.oci.go_json import go_json, load_object

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageConfig:
    """`document` is the whole JSON object; the other fields are read out of it."""

    document: Mapping[str, Any]
    platform: Platform
    diff_ids: tuple[Digest, ...]
    layered: bool  # rootfs.type == "layers"

    def encode(self) -> bytes:
        """Compact, keys sorted at every level, as BuildKit writes configs (they pass through a Go map)."""
        return go_json(dict(self.document), sort_keys=True)

    def history(self) -> list[dict[str, Any]]:
        """The history entries, copies."""
        return [dict(h) for h in self.document.get("history") or [] if isinstance(h, dict)]


def parse_image_config(data: bytes) -> ImageConfig:
    """Raises ValueError naming what is wrong: not JSON, rootfs of a wrong shape, malformed diff ids."""
    doc = load_object(data, "image config")
    rootfs = doc.get("rootfs") or {}
    if not isinstance(rootfs, dict) or not isinstance(rootfs.get("diff_ids") or [], list):
        raise ValueError("invalid image config: rootfs")
    try:
        diff_ids = tuple(parse_digest(str(d)) for d in rootfs.get("diff_ids") or [])
        platform = platform_from_json(doc)
    except ValueError as e:
        raise ValueError(f"invalid image config: {e}") from None
    return ImageConfig(document=doc, platform=platform, diff_ids=diff_ids, layered=rootfs.get("type") == "layers")


def default_image_config(platform: Platform) -> dict[str, Any]:
    """What BuildKit uses for a result without a config: the platform, `/` and the default PATH."""
    doc: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os}
    if platform.variant:
        doc["variant"] = platform.variant
    doc["config"] = {"Env": ["PATH=" + DEFAULT_PATH], "WorkingDir": "/"}
    doc["rootfs"] = {"type": "layers", "diff_ids": []}
    return doc


def with_rootfs(document: Mapping[str, Any], diff_ids: Sequence[Digest]) -> dict[str, Any]:
    """A copy whose rootfs is these layers."""
    return {**document, "rootfs": {"type": "layers", "diff_ids": list(diff_ids)}}
