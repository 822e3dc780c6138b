"""gRPC metadata and the header fields with a meaning of their own (PROTOCOL-HTTP2.md of grpc/grpc).

Names are lower case; values are ASCII text. A value whose name ends with `-bin` is base64 on the wire, see `Metadata.binary`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

Pairs: TypeAlias = Sequence[tuple[str, str]]

_RESERVED: Final = frozenset({"te", "content-type", "user-agent", "content-length", "host"})
_KEEP: Final = frozenset({"grpc-status-details-bin", "grpc-trace-bin", "grpc-tags-bin"})
_UNITS: Final = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}


class Metadata:
    """What a peer sent along, in order; a name may repeat."""

    __slots__ = ("_pairs",)

    def __init__(self, pairs: Pairs = ()) -> None:
        self._pairs = pairs

    def __iter__(self) -> Iterator[tuple[str, str]]:
        return iter(self._pairs)

    def __contains__(self, name: object) -> bool:
        return any(key == name for key, _ in self._pairs)

    def __repr__(self) -> str:
        return f"Metadata({[key for key, _ in self._pairs]})"  # values may be secret

    def get(self, name: str, default: str = "") -> str:
        """The first value of `name`."""
        return next((value for key, value in self._pairs if key == name), default)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self._pairs if key == name]

    def binary(self, name: str) -> bytes | None:
        """The decoded value of a `-bin` name; None when absent or not base64."""
        return decode_binary(self.get(name)) if name in self else None


def decode_binary(text: str) -> bytes | None:
    """Base64 with or without padding, as both are allowed to be sent."""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def encode_binary(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def from_headers(fields: Iterable[tuple[bytes, bytes]]) -> Metadata:
    """The custom part of a header list; pseudo-headers and what the protocol itself uses are left out."""
    pairs = []
    for raw_name, raw_value in fields:
        name = raw_name.decode("latin-1")
        own = name.startswith((":", "grpc-")) and name not in _KEEP
        if not own and name not in _RESERVED:
            pairs.append((name, raw_value.decode("latin-1")))
    return Metadata(pairs)


def to_headers(pairs: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    """Header fields for custom metadata; names become lower case, names the protocol uses itself are dropped."""
    fields = []
    for key, value in pairs:
        name = key.lower()
        if name in _RESERVED or name.startswith(":") or (name.startswith("grpc-") and name not in _KEEP):
            continue
        fields.append((name.encode("latin-1"), value.encode("latin-1", "replace")))
    return fields


def parse_timeout(value: str) -> float | None:
    """Seconds of a `grpc-timeout` value such as `15000m`; None when it is malformed."""
    digits, unit = value[:-1], value[-1:]
    if unit not in _UNITS or not (0 < len(digits) <= 8) or not (digits.isascii() and digits.isdigit()):
        return None
    return int(digits) * _UNITS[unit]


def format_timeout(seconds: float) -> str:
    """The finest unit that fits into the eight digits allowed."""
    for unit in ("n", "u", "m", "S", "M"):
        count = max(int(seconds / _UNITS[unit]), 0)
        if count < 10**8:
            return f"{max(count, 1)}{unit}"
    return f"{min(int(seconds / 3600), 10**8 - 1)}H"


def percent_encode(text: str) -> bytes:
    """For `grpc-message`: printable ASCII but `%` stays as it is."""
    raw = text.encode("utf-8", "surrogatepass")
    return b"".join(bytes((b,)) if 0x20 <= b <= 0x7E and b != 0x25 else b"%%%02X" % b for b in raw)


def percent_decode(value: bytes) -> str:
    """Back to text; what is not a valid escape stays as it came."""
    out, pos = bytearray(), 0
    while (at := value.find(b"%", pos)) >= 0:
        out += value[pos:at]
        try:
            out.append(int(value[at + 1 : at + 3], 16) if len(value) >= at + 3 else _fail())
            pos = at + 3
        except ValueError:
            out += b"%"
            pos = at + 1
    out += value[pos:]
    return out.decode("utf-8", "replace")


def _fail() -> int:
    raise ValueError
