"""Which platforms a result has (exporter/containerimage/exptypes/parse.go)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.errors import InvalidInput
from shared.model import Platform, format_platform
from shared.oci.descriptor import platform_from_json

PLATFORMS_KEY = "refs.platforms"
CONFIG_KEY = "containerimage.config"
BASE_CONFIG_KEY = "containerimage.base.config"


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetPlatform:
    """A platform of the result; `id` keys the result's maps."""

    id: str
    platform: Platform


def result_platforms(metadata: Mapping[str, bytes], default: Platform) -> tuple[TargetPlatform, ...]:
    """From `refs.platforms`, else from the config, else `default`. Raises InvalidInput for what can't be used."""
    if PLATFORMS_KEY in metadata:
        return _from_list(metadata[PLATFORMS_KEY])
    platform = default
    if CONFIG_KEY in metadata:
        # `null` names no platform here, and is refused where the config is needed
        config = {} if metadata[CONFIG_KEY].strip() == b"null" else _object(metadata[CONFIG_KEY], "image config")
        os, arch = config.get("os") or "", config.get("architecture") or ""
        if bool(os) != bool(arch):
            raise InvalidInput("invalid image config: os and architecture must be specified together")
        if os:
            platform = _platform(config)
    platform = platform.normalized()
    return (TargetPlatform(id=format_platform(platform, full=True), platform=platform),)


def keyed(metadata: Mapping[str, bytes], key: str, platform_id: str) -> bytes:
    """`key/<platform>` or `key`; empty when neither is there."""
    return metadata.get(f"{key}/{platform_id}") or metadata.get(key) or b""


def _from_list(data: bytes) -> tuple[TargetPlatform, ...]:
    entries = None if data.strip() == b"null" else _object(data, "platforms index").get("Platforms")
    if not isinstance(entries, list) or not entries:
        raise InvalidInput("invalid empty platforms index for exporter")
    if len(entries) > 1000:
        raise InvalidInput(f"too many platforms for exporter: {len(entries)}")
    out = []
    for entry in entries:
        id = entry.get("ID") if isinstance(entry, dict) else None
        if not isinstance(id, str) or not id:
            raise InvalidInput("invalid empty platform key for exporter")
        platform = _platform(entry.get("Platform"))
        if not platform.os or not platform.architecture:
            raise InvalidInput(f"invalid platform value {entry.get('Platform')!r:.200} for exporter")
        out.append(TargetPlatform(id=id, platform=platform.normalized()))
    return tuple(out)


def _platform(value: Any) -> Platform:
    try:
        return platform_from_json(value)
    except ValueError as e:
        raise InvalidInput(f"invalid platform for exporter: {e}") from None


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(data)
    except ValueError as e:
        raise InvalidInput(f"failed to parse {what} passed to exporter: {e}") from None
    if not isinstance(value, dict):
        raise InvalidInput(f"failed to parse {what} passed to exporter: not an object")
    return value
