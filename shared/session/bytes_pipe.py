"""Raw bytes as gRPC messages: `BytesMessage{data=1}` of Control.Session, FileSend and SSH forwarding (filesync.proto, control.proto)."""

from __future__ import annotations

from typing import Final

from shared.errors import Internal

MAX_PIECE: Final = 1 << 20
_MAX_MESSAGE: Final = 16 << 20


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def wrap(data: bytes) -> bytes:
    """`data` as one framed BytesMessage, or several when it is longer than a piece (peers take at most 4 MiB a message)."""
    if len(data) > MAX_PIECE:
        return b"".join(wrap(data[at : at + MAX_PIECE]) for at in range(0, len(data), MAX_PIECE))
    head = b"\x0a" + _varint(len(data))
    return b"\x00" + (len(head) + len(data)).to_bytes(4, "big") + head + data


class Unwrapper:
    """Chunks of framed BytesMessages in, the bytes they carry out; one slice a message. Raises Internal for anything else."""

    __slots__ = ("_held", "_need")

    def __init__(self) -> None:
        self._held = bytearray()
        self._need = 5

    def feed(self, chunk: bytes) -> bytes:
        if self._held or len(chunk) < self._need:
            self._held += chunk
            if len(self._held) < self._need:
                return b""
            chunk = bytes(self._held)
            self._held.clear()
        parts: list[bytes] = []
        pos, end = 0, len(chunk)
        while end - pos >= 5:
            start = pos + 5
            stop = start + int.from_bytes(chunk[pos + 1 : start], "big")
            if stop > end:
                self._check(chunk[pos], stop - start)
                self._need = stop - pos
                break
            # nearly always: tag of field 1, a length of one to four bytes, and that is all of the message
            if stop - start >= 2 and chunk[start] == 0x0A and not chunk[pos]:
                size, body = _length(chunk, start + 1)
                if body + size == stop:
                    parts.append(chunk[body:stop])
                    pos = stop
                    continue
            self._check(chunk[pos], stop - start)
            parts.append(_data_field(chunk[start:stop]))
            pos = stop
        else:
            self._need = 5
        if pos < end:
            self._held += chunk[pos:]
        return b"".join(parts)

    @staticmethod
    def _check(flag: int, length: int) -> None:
        if flag:
            raise Internal("compressed bytes message")
        if length > _MAX_MESSAGE:
            raise Internal(f"bytes message of {length} bytes is larger than {_MAX_MESSAGE}")


def _length(data: bytes, pos: int) -> tuple[int, int]:
    """A varint at `pos` and the position after it; a size that fits nowhere if it is malformed."""
    value = shift = 0
    for at in range(pos, min(pos + 5, len(data))):
        value |= (data[at] & 0x7F) << shift
        if data[at] < 0x80:
            return value, at + 1
        shift += 7
    return -1, 0


def _data_field(message: bytes) -> bytes:
    """Field 1 of a message that holds more or less than just that; unknown fields of the same kinds are skipped."""
    out, pos = b"", 0
    while pos < len(message):
        tag, pos = message[pos], pos + 1
        size, after = _length(message, pos)
        if size < 0 or tag & 7 not in (0, 2) or (tag & 7 == 2 and after + size > len(message)):
            raise Internal("malformed bytes message")
        if tag & 7 == 0:
            pos = after
            continue
        if tag == 0x0A:
            out = message[after : after + size]
        pos = after + size
    return out
