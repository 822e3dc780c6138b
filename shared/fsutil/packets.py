"""The messages of the protocol, coded by hand: Packet and Stat (fsutil types/wire.proto, stat.proto).

`Packet { type=1 stat=2 ID=3 data=4 }`, `Stat { path=1 mode=2 uid=3 gid=4 size=5 modTime=6 linkname=7 devmajor=8 devminor=9
xattrs=10 }`. Absent fields are zero. Paths and link names may hold any bytes but NUL; as `str` they are surrogate-escaped.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from typing import Final, NamedTuple

from shared.fsutil import mode as modes

_PREFIX: Final = struct.Struct(">BL")
_NO_XATTRS: Final[Mapping[str, bytes]] = {}
_SHIFTS: Final = range(7, 64, 7)
_MASK64: Final = (1 << 64) - 1


class PacketType(enum.IntEnum):
    STAT = 0
    REQ = 1
    DATA = 2
    FIN = 3
    ERR = 4


class Stat(NamedTuple):
    """One entry. A tuple, because contexts have tens of thousands of them and a dataclass costs four times as much to make.

    `mode` is Go's (see `mode.py`); `mtime` in ns; `linkname` = text of a symlink, or the earlier path of a hard link.
    """

    path: str
    mode: int = 0
    uid: int = 0
    gid: int = 0
    size: int = 0
    mtime: int = 0
    linkname: str = ""
    devmajor: int = 0
    devminor: int = 0
    xattrs: Mapping[str, bytes] = _NO_XATTRS

    @property
    def is_dir(self) -> bool:
        return bool(self.mode & modes.DIR)

    @property
    def is_symlink(self) -> bool:
        return bool(self.mode & modes.SYMLINK)

    @property
    def is_hardlink(self) -> bool:
        """A further name of an earlier entry; `size` is the file's all the same."""
        return bool(self.linkname) and not self.mode & (modes.SYMLINK | modes.DIR)


class Malformed(ValueError):
    """Bytes that are not a message of the protocol."""


# -- writing ------------------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    """Unsigned; negative numbers as 64-bit two's complement, as protobuf has it."""
    value &= _MASK64
    if value < 0x80:
        return bytes((value,))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _text(tag: bytes, text: str) -> bytes:
    raw = text.encode("utf-8", "surrogateescape")
    return tag + varint(len(raw)) + raw


def encode_stat(stat: Stat) -> bytes:
    out = [_text(b"\x0a", stat.path)]
    for tag, value in (
        (b"\x10", stat.mode),
        (b"\x18", stat.uid),
        (b"\x20", stat.gid),
        (b"\x28", stat.size),
        (b"\x30", stat.mtime),
    ):
        if value:
            out.append(tag + varint(value))
    if stat.linkname:
        out.append(_text(b"\x3a", stat.linkname))
    if stat.devmajor:
        out.append(b"\x40" + varint(stat.devmajor))
    if stat.devminor:
        out.append(b"\x48" + varint(stat.devminor))
    for key in sorted(stat.xattrs):
        entry = _text(b"\x0a", key) + b"\x12" + varint(len(stat.xattrs[key])) + stat.xattrs[key]
        out.append(b"\x52" + varint(len(entry)) + entry)
    return b"".join(out)


def framed(message: bytes) -> bytes:
    """With gRPC's prefix."""
    return _PREFIX.pack(0, len(message)) + message


def stat_packet(stat: Stat) -> bytes:
    """Framed, as are all packets here."""
    body = encode_stat(stat)
    return framed(b"\x12" + varint(len(body)) + body)


END_OF_STATS: Final = framed(b"")
FIN: Final = framed(b"\x08\x03")


def _id(number: int) -> bytes:
    return b"\x18" + varint(number) if number else b""


def request_packet(number: int) -> bytes:
    return framed(b"\x08\x01" + _id(number))


def data_packet(number: int, data: bytes) -> bytes:
    """A piece of file `number`; without data, its end."""
    head = b"\x08\x02" + _id(number)
    if data:
        head += b"\x22" + varint(len(data))
    return _PREFIX.pack(0, len(head) + len(data)) + head + data


def error_packet(text: str) -> bytes:
    raw = text.encode("utf-8", "replace")
    return framed(b"\x08\x04\x22" + varint(len(raw)) + raw)


# -- reading ------------------------------------------------------------------------------------------------------------


def read_varint(data: bytes, pos: int) -> tuple[int, int]:
    """Value and the position after it. Raises Malformed."""
    try:
        value = data[pos]
        pos += 1
        if value < 0x80:
            return value, pos
        value &= 0x7F
        for shift in _SHIFTS:
            byte = data[pos]
            pos += 1
            if byte < 0x80:
                return value | byte << shift, pos
            value |= (byte & 0x7F) << shift
    except IndexError:
        raise Malformed("message ends within a varint") from None
    raise Malformed("varint is too long")


def _skip(data: bytes, pos: int, wire_type: int) -> int:
    match wire_type:
        case 0:
            return read_varint(data, pos)[1]
        case 1:
            return pos + 8
        case 2:
            size, pos = read_varint(data, pos)
            return pos + size
        case 5:
            return pos + 4
        case _:
            raise Malformed(f"wire type {wire_type}")


def decode_stat(data: bytes, pos: int, end: int) -> Stat:
    """A Stat from `data[pos:end]`. Raises Malformed."""
    path = linkname = ""
    numbers = [0] * 10  # by field number
    xattrs: dict[str, bytes] | None = None
    while pos < end:
        tag = data[pos]
        pos += 1
        if tag in (0x0A, 0x3A, 0x52):
            length = data[pos] if pos < end else 0x80
            pos += 1
            if length >= 0x80:
                length, pos = read_varint(data, pos - 1)
            stop = pos + length
            if stop > end:
                raise Malformed("field reaches beyond its message")
            if tag == 0x0A:
                path = data[pos:stop].decode("utf-8", "surrogateescape")
            elif tag == 0x3A:
                linkname = data[pos:stop].decode("utf-8", "surrogateescape")
            else:
                xattrs = {} if xattrs is None else xattrs
                _xattr(data[pos:stop], xattrs)
            pos = stop
        elif tag & 7 == 0 and tag < 0x50:
            # one and two bytes, which most numbers have, without a call
            if pos + 1 < end and data[pos] >= 0x80 > data[pos + 1]:
                numbers[tag >> 3] = data[pos] & 0x7F | data[pos + 1] << 7
                pos += 2
            else:
                numbers[tag >> 3], pos = read_varint(data, pos)
        else:
            number, pos = read_varint(data, pos - 1)
            pos = _skip(data, pos, number & 7)
    if pos != end:
        raise Malformed("field reaches beyond its message")
    _, _, mode, uid, gid, size, mtime, _, major, minor = numbers
    return Stat(
        path,
        mode & 0xFFFF_FFFF,
        uid & 0xFFFF_FFFF,
        gid & 0xFFFF_FFFF,
        _signed(size),
        _signed(mtime),
        linkname,
        _signed(major),
        _signed(minor),
        xattrs or _NO_XATTRS,
    )


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _xattr(entry: bytes, into: dict[str, bytes]) -> None:
    key, value, pos = "", b"", 0
    while pos < len(entry):
        tag, pos = read_varint(entry, pos)
        if tag & 7 != 2:
            pos = _skip(entry, pos, tag & 7)
            continue
        size, pos = read_varint(entry, pos)
        if pos + size > len(entry):
            raise Malformed("field reaches beyond its message")
        if tag == 0x0A:
            key = entry[pos : pos + size].decode("utf-8", "surrogateescape")
        elif tag == 0x12:
            value = entry[pos : pos + size]
        pos += size
    into[key] = value


class Packet(NamedTuple):
    """`stat` is None for all kinds but STAT, and for the STAT that ends the list."""

    type: PacketType
    stat: Stat | None
    number: int
    data: bytes


def decode_packet(data: bytes, pos: int, end: int) -> Packet:
    """Any packet, whatever order its fields have. Raises Malformed. (The hot loops look for the usual shapes first.)"""
    kind = number = 0
    stat: Stat | None = None
    body = b""
    while pos < end:
        tag, pos = read_varint(data, pos)
        if tag in (0x12, 0x22):
            size, pos = read_varint(data, pos)
            if pos + size > end:
                raise Malformed("field reaches beyond its message")
            if tag == 0x12:
                stat = decode_stat(data, pos, pos + size)
            else:
                body = data[pos : pos + size]
            pos += size
        elif tag in (0x08, 0x18):
            value, pos = read_varint(data, pos)
            if tag == 0x08:
                kind = value
            else:
                number = value & 0xFFFF_FFFF
        else:
            pos = _skip(data, pos, tag & 7)
    if pos != end:
        raise Malformed("field reaches beyond its message")
    if kind > PacketType.ERR:
        raise Malformed(f"packet type {kind}")
    return Packet(PacketType(kind), stat, number, body)
