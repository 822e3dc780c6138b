"""Content descriptors (OCI image-spec descriptor.md)."""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.model import Digest, Platform, parse_digest

_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&\-^_.+]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&\-^_.+]{0,126}")
_MAX_SIZE = 1 << 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """Names a blob: what it is, its digest, its size in bytes. `data` is an inlined copy (small blobs only)."""

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    artifact_type: str = ""
    urls: tuple[str, ...] = ()
    data: bytes | None = None

    def to_json(self) -> dict[str, Any]:
        """In the field order of image-spec's Go struct, empty fields left out; annotations sorted (a Go map)."""
        out: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.urls:
            out["urls"] = list(self.urls)
        if self.annotations:
            out["annotations"] = dict(sorted(self.annotations.items()))
        if self.data is not None:
            out["data"] = base64.b64encode(self.data).decode()
        if self.platform is not None:
            out["platform"] = platform_to_json(self.platform)
        if self.artifact_type:
            out["artifactType"] = self.artifact_type
        return out


def descriptor_from_json(value: Any, what: str = "descriptor") -> Descriptor:
    """Validated. Raises ValueError naming `what` and the bad field."""
    if not isinstance(value, dict):
        raise ValueError(f"invalid {what}: not an object")
    size = value.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _MAX_SIZE:
        raise ValueError(f"invalid {what}: size {size!r:.40}")
    media_type = value.get("mediaType", "")
    if not isinstance(media_type, str) or (media_type and _MEDIA_TYPE.fullmatch(media_type) is None):
        raise ValueError(f"invalid {what}: mediaType {media_type!r:.100}")
    try:
        digest = parse_digest(str(value.get("digest", "")))
        data = base64.b64decode(value["data"], validate=True) if value.get("data") is not None else None
        platform = platform_from_json(value["platform"]) if value.get("platform") is not None else None
    except (ValueError, TypeError) as e:
        raise ValueError(f"invalid {what}: {e}") from None
    return Descriptor(
        media_type=media_type,
        digest=digest,
        size=size,
        annotations=string_map(value.get("annotations"), f"{what} annotations"),
        platform=platform,
        artifact_type=str(value.get("artifactType") or ""),
        urls=tuple(str(u) for u in value.get("urls") or ()),
        data=data,
    )


def platform_to_json(platform: Platform) -> dict[str, Any]:
    """image-spec `platform` object, empty fields left out."""
    out: dict[str, Any] = {"architecture": platform.architecture, "os": platform.os}
    if platform.os_version:
        out["os.version"] = platform.os_version
    if platform.os_features:
        out["os.features"] = list(platform.os_features)
    if platform.variant:
        out["variant"] = platform.variant
    return out


def platform_from_json(value: Any) -> Platform:
    """From a descriptor's `platform` or an image config. Raises ValueError when the types are wrong; missing parts become empty."""
    if not isinstance(value, dict):
        raise ValueError("platform is not an object")
    fields = {k: value.get(k) or "" for k in ("os", "architecture", "variant", "os.version")}
    features = value.get("os.features") or []
    if not all(isinstance(v, str) for v in fields.values()) or not isinstance(features, list):
        raise ValueError("platform fields are not strings")
    return Platform(
        os=fields["os"],
        architecture=fields["architecture"],
        variant=fields["variant"],
        os_version=fields["os.version"],
        os_features=tuple(str(f) for f in features),
    )


def string_map(value: Any, what: str) -> dict[str, str]:
    """A JSON object of strings, or {} for null. Raises ValueError."""
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(v, str) for v in value.values()):
        raise ValueError(f"invalid {what}: not a map of strings")
    return dict(value)
