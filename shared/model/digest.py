"""Content digests as text, `sha256:<64 hex>` (OCI image-spec, descriptor.md)."""

import hashlib
import re
from typing import NewType

Digest = NewType("Digest", str)

_PATTERN = re.compile(r"(?:sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128})")


def is_digest(text: str) -> bool:
    """True when `text` is a whole, well-formed digest of an algorithm we verify."""
    return _PATTERN.fullmatch(text) is not None


def parse_digest(text: str) -> Digest:
    """`text` as a Digest. Raises ValueError naming the text (cut to 100 characters)."""
    if not is_digest(text):
        raise ValueError(f"invalid digest: {text[:100]!r}")
    return Digest(text)


def sha256_digest(data: bytes | bytearray | memoryview) -> Digest:
    """The digest of these bytes."""
    return Digest("sha256:" + hashlib.sha256(data).hexdigest())
