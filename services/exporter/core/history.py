"""Image history and config bytes for export (exporter/containerimage/writer.go patchImageConfig, normalizeLayersAndHistory)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from services.exporter.core.epoch import parse_rfc3339, rfc3339
from shared.errors import InvalidInput
from shared.model import Digest, Layer
from shared.oci import go_json

COMMENT = "buildkit.exporter.image.v0"


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryItem:
    """One entry. `created` is RFC 3339 text as it came, "" = not set."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False

    def to_json(self) -> dict[str, Any]:
        """In the field order of image-spec's Go struct, empty fields left out."""
        out: dict[str, Any] = {}
        if self.created:
            out["created"] = self.created
        for key in ("created_by", "author", "comment"):
            if value := getattr(self, key):
                out[key] = value
        if self.empty_layer:
            out["empty_layer"] = True
        return out


def parse_config(data: bytes) -> dict[str, Any]:
    """The config document. Raises InvalidInput for what can't be exported (not an object, no os, no architecture, bad history)."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as e:
        raise InvalidInput(f"invalid image config for export: {e}") from None
    if document is None:
        raise InvalidInput("invalid null image config for export")
    if not isinstance(document, dict):
        raise InvalidInput("invalid image config for export: not an object")
    for key, what in (("os", "os"), ("architecture", "architecture")):
        if not document.get(key):
            raise InvalidInput(f"invalid image config for export: missing {what}")
    return document


def parse_history(document: Mapping[str, Any]) -> list[HistoryItem]:
    """The history of a config document. Raises InvalidInput for entries of a wrong shape."""
    items = document.get("history") or []
    if not isinstance(items, list) or not all(isinstance(i, dict) for i in items):
        raise InvalidInput("failed to unmarshal history from config: not a list of objects")
    return [_item(i) for i in items]


def normalize(history: Sequence[HistoryItem], layers: Sequence[Layer]) -> list[HistoryItem]:
    """Exactly one non-empty entry per layer, and a time on each entry where one can be known."""
    items = _drop_surplus(list(history), len(layers))
    described = sum(not h.empty_layer for h in items)
    for layer in layers[described:]:
        items.append(HistoryItem(created=_layer_time(layer), created_by=layer.description or "created by buildkit", comment=COMMENT))
    return _fill_times(_layer_times(items, layers))


def _drop_surplus(items: list[HistoryItem], layers: int) -> list[HistoryItem]:
    seen, out = 0, []
    for item in items:
        if not item.empty_layer:
            if seen >= layers:
                item = replace(item, empty_layer=True)
            else:
                seen += 1
        out.append(item)
    return out


def _layer_times(items: list[HistoryItem], layers: Sequence[Layer]) -> list[HistoryItem]:
    out, index = [], 0
    for item in items:
        if not item.empty_layer:
            if not item.created:
                item = replace(item, created=_layer_time(layers[index]))
            index += 1
        out.append(item)
    return out


def _fill_times(items: list[HistoryItem]) -> list[HistoryItem]:
    """Entries without a time take that of the first new layer, later ones that of the entry before."""
    created, gap = "", False
    for item in items:
        if item.created:
            created = item.created
            if gap:
                break
        else:
            gap = True
    out, gap = [], False
    for item in items:
        if item.created:
            if gap:
                created = item.created
        else:
            gap = True
            item = replace(item, created=created)
        out.append(item)
    return out


def clamp(items: Sequence[HistoryItem], base: Sequence[HistoryItem], epoch: int) -> list[HistoryItem]:
    """Times later than `epoch` (s), or missing, become `epoch`; the leading entries that equal the base image's are kept."""
    out, diverged = [], False
    for i, item in enumerate(items):
        if not diverged and i < len(base) and item == base[i]:
            out.append(item)
            continue
        diverged = True
        out.append(replace(item, created=clamp_time(item.created, epoch)))
    return out


def clamp_time(created: str, epoch: int) -> str:
    """min(created, epoch) as text; `epoch` where nothing is set. Raises InvalidInput for a malformed time."""
    limit = epoch * 1_000_000_000
    if created and _nanoseconds(created) <= limit:
        return created
    return rfc3339(limit)


def config_bytes(document: Mapping[str, Any], *, diff_ids: Sequence[Digest], history: Sequence[HistoryItem], epoch: int | None) -> bytes:
    """The config blob: rootfs and history replaced, `created` kept (clamped to `epoch`) or the last history time.

    Top-level keys sorted, everything below as it came: BuildKit's pass through a map of raw values.
    """
    out = dict(document)
    out["rootfs"] = {"type": "layers", "diff_ids": list(diff_ids) or None}
    out["history"] = [h.to_json() for h in history] or None
    if epoch is not None and isinstance(out.get("created"), str):
        out["created"] = clamp_time(out["created"], epoch)
    if "created" not in out:
        out["created"] = next((h.created for h in reversed(history) if h.created), None)
    return go_json({key: out[key] for key in sorted(out)})


def _layer_time(layer: Layer) -> str:
    return rfc3339(layer.created_at) if layer.created_at else ""


def _item(value: dict[str, Any]) -> HistoryItem:
    texts = {k: value.get(k) or "" for k in ("created", "created_by", "author", "comment")}
    if not all(isinstance(v, str) for v in texts.values()):
        raise InvalidInput("failed to unmarshal history from config: a field is not a string")
    if texts["created"]:
        _nanoseconds(texts["created"])
    return HistoryItem(**texts, empty_layer=value.get("empty_layer") is True)


def _nanoseconds(text: str) -> int:
    try:
        return parse_rfc3339(text)
    except ValueError as e:
        raise InvalidInput(f"failed to unmarshal creation time: {e}") from None
