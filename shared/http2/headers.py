"""Header blocks: our encoding of them, and what a peer's block must look like.

Sending needs no compression state here: entries of the static table by index, all else as literals that are not indexed
(RFC 7541 §6.1, §6.2.2). Blocks of a few short fields gain nothing from more, and a block that is the same each time can be
built once. Receiving needs the dynamic table and is left to `hpack`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from hpack.table import HeaderTable

from shared.http2.events import Headers
from shared.http2.fault import StreamFault
from shared.http2.frames import ErrorCode

_EXACT: Final[dict[tuple[bytes, bytes], int]] = {pair: i for i, pair in enumerate(HeaderTable.STATIC_TABLE, 1)}
_NAMES: Final[dict[bytes, int]] = {}
for _index, (_name, _value) in enumerate(HeaderTable.STATIC_TABLE, 1):
    _NAMES.setdefault(_name, _index)

_FORBIDDEN: Final = frozenset({b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"})
_REQUEST_PSEUDO: Final = frozenset({b":method", b":scheme", b":path", b":authority"})
_REQUIRED: Final = frozenset({b":method", b":scheme", b":path"})
# octets that must not appear in a field name (RFC 9113 §8.2.1): upper case, space, controls, DEL and above
_BAD_IN_NAME: Final = bytes([*range(0x00, 0x21), *range(0x41, 0x5B), *range(0x7F, 0x100)])
_KEEP: Final = bytes(range(256))


def _integer(value: int, prefix_bits: int, pattern: int) -> bytes:
    """RFC 7541 §5.1, with `pattern` in the bits above the prefix."""
    limit = (1 << prefix_bits) - 1
    if value < limit:
        return bytes((pattern | value,))
    out = bytearray((pattern | limit,))
    value -= limit
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _string(value: bytes) -> bytes:
    return _integer(len(value), 7, 0) + value


@lru_cache(maxsize=1024)
def _field(name: bytes, value: bytes) -> bytes:
    exact = _EXACT.get((name, value))
    if exact is not None:
        return _integer(exact, 7, 0x80)
    known = _NAMES.get(name)
    return (_integer(known, 4, 0) if known else b"\x00" + _string(name)) + _string(value)


def encode(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A header block; names must be in lower case. Long values don't enter the cache of fields."""
    return b"".join(_field(name, value) if len(value) <= 128 else b"\x00" + _string(name) + _string(value) for name, value in headers)


def _check_names(stream_id: int, headers: Headers) -> None:
    for name, value in headers:
        if not name or name.translate(_KEEP, _BAD_IN_NAME) != name or name in _FORBIDDEN:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, f"header name not allowed: {name[:60]!r}")
        if b"\x00" in value or b"\n" in value or b"\r" in value:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, f"bad octet in header {name[:60]!r}")
        if name == b"te" and value != b"trailers":
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "header te may only be trailers")


def _pseudo(stream_id: int, headers: Headers, allowed: frozenset[bytes]) -> set[bytes]:
    """Names of the pseudo-header fields, which must come first and once each (RFC 9113 §8.3)."""
    seen: set[bytes] = set()
    regular = False
    for name, _ in headers:
        if not name.startswith(b":"):
            regular = True
        elif regular or name in seen or name not in allowed:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, f"pseudo-header out of place: {name[:60]!r}")
        else:
            seen.add(name)
    return seen


def check_request(stream_id: int, headers: Headers) -> None:
    _check_names(stream_id, headers)
    if not _pseudo(stream_id, headers, _REQUEST_PSEUDO) >= _REQUIRED:
        raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "request lacks :method, :scheme or :path")


def check_response(stream_id: int, headers: Headers) -> None:
    _check_names(stream_id, headers)
    if b":status" not in _pseudo(stream_id, headers, frozenset({b":status"})):
        raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "response lacks :status")


def check_trailers(stream_id: int, headers: Headers) -> None:
    _check_names(stream_id, headers)
    _pseudo(stream_id, headers, frozenset())
