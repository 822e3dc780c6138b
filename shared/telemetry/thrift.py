"""As much of Thrift as Jaeger's agent and collector need: structs written in the compact and in the binary protocol.

Specifications: github.com/apache/thrift doc/specs/thrift-compact-protocol.md and thrift-binary-protocol.md. Lists hold structs only.
"""

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

_ONEWAY = 4


class Kind(IntEnum):
    """Types by their numbers in the binary protocol."""

    BOOL = 2
    DOUBLE = 4
    I32 = 8
    I64 = 10
    STRING = 11
    STRUCT = 12
    LIST = 15


Fields = Sequence[tuple[int, Kind, Any]]
"""A struct: (field id, kind, value) in growing order of ids; a struct's value is Fields, a list's a sequence of Fields."""

_COMPACT = {Kind.DOUBLE: 7, Kind.I32: 5, Kind.I64: 6, Kind.STRING: 8, Kind.LIST: 9, Kind.STRUCT: 12}


def compact_call(method: str, arguments: Fields) -> bytes:
    """A one-way call in the compact protocol."""
    name = method.encode()
    head = bytes([0x82, 1 | _ONEWAY << 5]) + _varint(0) + _varint(len(name)) + name
    return head + _compact_struct(arguments)


def _compact_struct(fields: Fields) -> bytes:
    out = bytearray()
    last = 0
    for id, kind, value in fields:
        code = (1 if value else 2) if kind is Kind.BOOL else _COMPACT[kind]
        delta = id - last
        out += bytes([delta << 4 | code]) if 0 < delta < 16 else bytes([code]) + _varint(_zigzag(id))
        last = id
        out += _compact_value(kind, value)
    return bytes(out) + b"\0"


def _compact_value(kind: Kind, value: Any) -> bytes:
    match kind:
        case Kind.BOOL:
            return b""
        case Kind.DOUBLE:
            return struct.pack("<d", value)
        case Kind.I32 | Kind.I64:
            return _varint(_zigzag(value))
        case Kind.STRING:
            text = value.encode()
            return _varint(len(text)) + bytes(text)
        case Kind.STRUCT:
            return _compact_struct(value)
        case Kind.LIST:
            size = len(value)
            head = bytes([size << 4 | _COMPACT[Kind.STRUCT]]) if size < 15 else bytes([0xF0 | _COMPACT[Kind.STRUCT]]) + _varint(size)
            return head + b"".join(_compact_struct(item) for item in value)


def _zigzag(number: int) -> int:
    return number << 1 if number >= 0 else (-number << 1) - 1


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def binary(fields: Fields) -> bytes:
    """A struct in the binary protocol."""
    return b"".join(struct.pack(">bh", kind, id) + _binary_value(kind, value) for id, kind, value in fields) + b"\0"


def _binary_value(kind: Kind, value: Any) -> bytes:
    match kind:
        case Kind.BOOL:
            return b"\1" if value else b"\0"
        case Kind.DOUBLE:
            return struct.pack(">d", value)
        case Kind.I32:
            return struct.pack(">i", value)
        case Kind.I64:
            return struct.pack(">q", value)
        case Kind.STRING:
            text = value.encode()
            return struct.pack(">i", len(text)) + bytes(text)
        case Kind.STRUCT:
            return binary(value)
        case Kind.LIST:
            return struct.pack(">bi", Kind.STRUCT, len(value)) + b"".join(binary(item) for item in value)
