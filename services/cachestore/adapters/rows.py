"""Rows of the key graph ↔ (key, bytes) for stores that know only that. The value is msgpack: a tag and the fields."""

import hashlib
from collections.abc import Sequence
from typing import Any

import msgpack

from services.cachestore.core.key_graph import Link, LinkRow, ResultRow, Row
from shared.errors import InvalidInput
from shared.model import Ref
from shared.wire.shapes import Shapes

_SHAPES = Shapes()
_REF_OUT = _SHAPES.encoder(Ref)
_REF_IN = _SHAPES.decoder(Ref)


def row_key(row: Row) -> str:
    """A safe id that is equal for equal identities: all of a link; key and result id of a result."""
    match row:
        case LinkRow():
            link = row.link
            parts = ["link", row.source, str(link.input), str(link.output), link.digest, link.selector, row.target]
        case ResultRow():
            parts = ["result", row.key, row.id]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]


def encode_row(row: Row) -> bytes:
    """The stored value."""
    match row:
        case LinkRow():
            link = row.link
            plain: list[Any] = ["link", row.source, link.input, link.output, link.digest, link.selector, row.target]
        case ResultRow():
            plain = ["result", row.key, row.id, row.created_at, None if row.ref is None else _REF_OUT(row.ref), row.identity]
    packed: bytes = msgpack.packb(plain)
    return packed


def join_rows(rows: Sequence[bytes]) -> bytes:
    """Several encoded rows as one value."""
    packed: bytes = msgpack.packb(["rows", *rows])
    return packed


def decode_rows(data: bytes) -> list[Row]:
    """What `join_rows` put together, or a row alone; what is damaged is left out."""
    try:
        match msgpack.unpackb(data):
            case ["rows", *rows]:
                found = [decode_row(row) for row in rows if isinstance(row, bytes)]
                return [row for row in found if row is not None]
    except (ValueError, msgpack.UnpackException):
        return []
    row = decode_row(data)
    return [row] if row is not None else []


def decode_row(data: bytes) -> Row | None:
    """The row, or None for what is damaged: that is a miss, not an error."""
    try:
        match msgpack.unpackb(data):
            case ["link", str(source), int(input), int(output), str(digest), str(selector), str(target)]:
                return LinkRow(source, Link(input, output, digest, selector), target)
            case ["result", str(key), str(id), int(created_at), ref, str(identity)]:
                return ResultRow(key, id, created_at, None if ref is None else _REF_IN(ref), identity)
            case ["result", str(key), str(id), int(created_at), ref]:  # as they were before identities were kept
                return ResultRow(key, id, created_at, None if ref is None else _REF_IN(ref))
    except (ValueError, TypeError, InvalidInput, msgpack.UnpackException):
        return None
    return None
