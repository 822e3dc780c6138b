"""Where in the Dockerfile an error comes from, from the error's Source details (BuildKit solver/errdefs/source.go)."""

from __future__ import annotations

import base64
import binascii
from typing import Any, Final

from shared.errors import BuildmeshError

_RULE: Final = "-" * 20
_AROUND: Final = 2


def excerpts(error: BaseException) -> str:
    """Text to print before the message; empty when the error has no source."""
    if not isinstance(error, BuildmeshError):
        return ""
    found = [detail.json() for detail in error.details if detail.type_url.endswith("errdefs.Source+json")]
    return "".join(_excerpt(value) for value in found if isinstance(value, dict))


def _excerpt(value: dict[str, Any]) -> str:
    try:
        info = value["info"]
        lines = base64.b64decode(info.get("data", "")).decode("utf-8", "replace").splitlines()
        marked = {line for r in value["ranges"] for line in range(r["start"]["line"], r["end"]["line"] + 1)}
    except (KeyError, TypeError, AttributeError, binascii.Error):
        return ""
    marked = {line for line in marked if 1 <= line <= len(lines)}
    if not marked:
        return ""
    first, last = max(min(marked) - _AROUND, 1), min(max(marked) + _AROUND, len(lines))
    body = [f" {n:3d} | {'>>>' if n in marked else '   '} {lines[n - 1]}" for n in range(first, last + 1)]
    return "\n".join([f"{info.get('filename', '')}:{min(marked)}", _RULE, *body, _RULE, ""])
