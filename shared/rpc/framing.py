"""gRPC message framing: one byte of flags, four of length, then the message; sans-IO."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable
from typing import Final

from shared.errors import Exhausted, Internal, Unsupported

PREFIX: Final = struct.Struct(">BL")
MAX_MESSAGE: Final = 16 << 20
"""Both ways, as in BuildKit (containerd's defaults)."""


def frame(message: bytes) -> bytes:
    return PREFIX.pack(0, len(message)) + message


def frame_all(messages: Iterable[bytes]) -> bytes:
    """Many messages as one chunk."""
    pack = PREFIX.pack
    out: list[bytes] = []
    for message in messages:
        out += (pack(0, len(message)), message)
    return b"".join(out)


class MessageReader:
    """Chunks in, messages out.

    `limit` bounds one message. Raises Exhausted (too large), Unsupported or Internal (compression that was not agreed on).
    """

    __slots__ = ("_data", "_limit", "_parts", "_pos", "_size", "encoding")

    def __init__(self, limit: int = MAX_MESSAGE) -> None:
        self._limit = limit
        self._data = b""
        self._pos = 0
        self._parts: list[bytes] = []  # come after `_data`, kept apart so that a large message is joined once
        self._size = 0
        self.encoding = ""

    def feed(self, chunk: bytes) -> None:
        self._parts.append(chunk)
        self._size += len(chunk)

    @property
    def partial(self) -> bool:
        """Whether a message has begun that is not complete."""
        return self._size > 0

    def announced(self) -> int | None:
        """How many bytes the next message takes at most; None before its prefix is here."""
        prefix = self._prefix()
        if prefix is None:
            return None
        flag, length = prefix
        return self._limit if flag else min(length, self._limit)  # what is compressed may grow

    def _prefix(self) -> tuple[int, int] | None:
        if self._size < PREFIX.size:
            return None
        if len(self._data) - self._pos < PREFIX.size:
            self._join()
        return PREFIX.unpack_from(self._data, self._pos)

    def next(self) -> bytes | None:
        """The next whole message, or None."""
        prefix = self._prefix()
        if prefix is None:
            return None
        flag, length = prefix
        if length > self._limit:
            raise Exhausted(f"received message larger than max ({length} vs. {self._limit})")
        total = PREFIX.size + length
        if self._size < total:
            return None
        if len(self._data) - self._pos < total:
            self._join()
        start = self._pos + PREFIX.size
        self._pos += total
        self._size -= total
        message = self._data[start : self._pos]
        return message if not flag else self._inflate(flag, message)

    def rest(self) -> bytes:
        """All that is left, framed as it came."""
        self._join()
        out, self._data, self._pos, self._size = self._data, b"", 0, 0
        return out

    def _join(self) -> None:
        self._data = b"".join((self._data[self._pos :], *self._parts))
        self._pos = 0
        self._parts.clear()

    def _inflate(self, flag: int, message: bytes) -> bytes:
        if flag != 1:
            raise Internal(f"unknown message flag {flag}")
        if self.encoding != "gzip":
            raise Unsupported(f"compression {self.encoding[:40]!r} is not supported")
        inflater = zlib.decompressobj(wbits=31)
        try:
            out = inflater.decompress(message, self._limit)
        except zlib.error as error:
            raise Internal(f"broken gzip message: {error}") from None
        if inflater.unconsumed_tail:
            raise Exhausted(f"received message larger than max ({self._limit}) after decompression")
        if not inflater.eof:
            raise Internal("broken gzip message: it ends early")
        return out
