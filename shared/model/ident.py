"""Identifiers that arrive from outside: build refs, session ids, executor ids, snapshot ids.

They become bus subjects, KV keys and directory names, so the alphabet is closed here, once.
"""

import re

_SAFE = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}")


def is_safe_id(text: str) -> bool:
    """True for 1–128 characters of letters, digits, `_`, `-` and inner dots, with no `..`."""
    return _SAFE.fullmatch(text) is not None and ".." not in text and not text.endswith(".")


def require_safe_id(text: str, what: str) -> str:
    """`text` itself. Raises ValueError `invalid <what>: '<text>'` otherwise."""
    if not is_safe_id(text):
        raise ValueError(f"invalid {what}: {text[:100]!r}")
    return text
