"""Header blocks as they come in: one HEADERS frame and any CONTINUATIONs put together, then decompressed (RFC 9113 §4.3)."""

from __future__ import annotations

import hpack

from shared.http2 import frames
from shared.http2.events import Headers
from shared.http2.fault import ConnectionFault, protocol_fault
from shared.http2.frames import ErrorCode
from shared.http2.limits import Limits


class HeaderBlock:
    """At most one is under way on a connection, and nothing may come in between."""

    __slots__ = ("_data", "_decoder", "_limits", "_parts", "ends_stream", "stream_id")

    def __init__(self, limits: Limits) -> None:
        self.stream_id = 0
        self.ends_stream = False
        self._limits = limits
        self._decoder = hpack.Decoder(max_header_list_size=limits.max_header_list)
        self._data: bytearray | None = None
        self._parts = 0

    @property
    def under_way(self) -> bool:
        return self._data is not None

    def begin(self, flags: int, stream_id: int, body: bytes) -> None:
        """A HEADERS frame."""
        if flags & frames.PADDED:
            body = without_padding(body)
        if flags & frames.HAS_PRIORITY:
            if len(body) < 5:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
            body = body[5:]
        self.stream_id, self.ends_stream = stream_id, bool(flags & frames.END_STREAM)
        self._data, self._parts = bytearray(body), 0

    def add(self, body: bytes) -> None:
        """A CONTINUATION frame."""
        if self._data is None:
            raise protocol_fault("CONTINUATION without a header block")
        self._parts += 1
        self._data += body
        if self._parts > self._limits.max_continuations or len(self._data) > self._limits.max_header_list:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header block is too long")

    def finish(self) -> Headers:
        """The whole block's fields. It must be decoded even if nobody wants it, as it changes the decoder's table."""
        block, self._data = bytes(self._data or b""), None
        try:
            return [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except hpack.OversizedHeaderListError:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "header list is too large") from None
        except Exception as error:  # hpack means to raise HPACKError only, yet bad bytes must never come through as our bug
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"header block: {error}") from None


def without_padding(body: bytes) -> bytes:
    if not body or body[0] >= len(body):
        raise protocol_fault("padding is longer than its frame")
    return body[1 : len(body) - body[0]]
