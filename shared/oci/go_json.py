"""JSON bytes as Go's encoding/json writes them, because digests are taken of them.

Differences to Python: `<`, `>`, `&`, U+2028 and U+2029 are escaped, everything else non-ASCII stays UTF-8, `\\b` and `\\f` are
written as such, bytes that are no UTF-8 (surrogate escapes) as `\\ufffd`. Key order is the caller's: struct fields in their
order; for Go maps pass `sort_keys=True`.
"""

import json
import re
from typing import Any

_ESCAPES = (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"))
_ESCAPES_BEYOND_ASCII = (("\u2028", "\\u2028"), ("\u2029", "\\u2029"))

_INVALID, _SURROGATE = re.compile("[\udc80-\udcff]"), re.compile("[\ud800-\udfff]")


def go_json(value: Any, *, sort_keys: bool = False) -> bytes:
    """Compact form, as json.Marshal."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=sort_keys)
    return _encoded(text)


def go_json_indent(value: Any, *, sort_keys: bool = False) -> bytes:
    """Two-space indent and no final newline, as json.MarshalIndent(v, "", "  ")."""
    text = json.dumps(value, ensure_ascii=False, indent=2, separators=(",", ": "), sort_keys=sort_keys)
    return _encoded(text)


def _encoded(text: str) -> bytes:
    for char, escape in _ESCAPES:  # texts are long and have hardly any: str.translate would look at each character
        text = text.replace(char, escape)
    if text.isascii():
        return text.encode()
    for char, escape in _ESCAPES_BEYOND_ASCII:
        text = text.replace(char, escape)
    return _SURROGATE.sub("\ufffd", _INVALID.sub(r"\\ufffd", text)).encode()


def load_object(data: bytes, what: str, *, limit: int = 8 << 20) -> dict[str, Any]:
    """The JSON object in `data`. Raises ValueError `invalid <what>: …` for anything else, and for more than `limit` bytes."""
    if len(data) > limit:
        raise ValueError(f"invalid {what}: {len(data)} bytes, more than the {limit} allowed")
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as e:
        raise ValueError(f"invalid {what}: not JSON ({e})") from None
    if not isinstance(value, dict):
        raise ValueError(f"invalid {what}: not a JSON object")
    return value
