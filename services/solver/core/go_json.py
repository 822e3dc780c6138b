"""JSON exactly as Go's encoding/json writes it: compact, HTML-safe, zero values left out where the tag says omitempty."""

import base64
import json
from collections.abc import Mapping
from typing import Any

_HTML = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"})


def go_json(value: Any) -> bytes:
    """Dicts keep their order (struct fields); bytes become base64."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_bytes).translate(_HTML).encode("utf-8", "replace")


def _bytes(value: object) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"no JSON for {type(value).__name__}")


def fields(**values: Any) -> dict[str, Any]:
    """A struct whose fields are all omitempty: None, 0, False, "" and empty lists or maps are left out.

    An empty *struct* behind a pointer stays: write it as `pointer({})`.
    """
    return {name: _plain(value) for name, value in values.items() if _kept(value)}


class pointer(dict[str, Any]):
    """A struct behind a non-nil pointer: written even when it has no fields."""


def _kept(value: Any) -> bool:
    return isinstance(value, pointer) or bool(value)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(v) for v in value]
    if isinstance(value, Mapping) and not isinstance(value, pointer):
        return {key: value[key] for key in sorted(value)}  # Go maps are written in key order
    return value
