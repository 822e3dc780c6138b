"""Frame layout: numbers of RFC 9113 §6–§7 and the functions that write one frame each.

Kinds and flags are plain ints, as the receive loop compares one per frame and an enum member costs four times as much there.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable
from typing import Final

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADER_SIZE: Final = 9
MAX_WINDOW: Final = 2**31 - 1
DEFAULT_WINDOW: Final = 65_535
DEFAULT_FRAME_SIZE: Final = 16_384

DATA: Final = 0x0
HEADERS: Final = 0x1
PRIORITY: Final = 0x2
RST_STREAM: Final = 0x3
SETTINGS: Final = 0x4
PUSH_PROMISE: Final = 0x5
PING: Final = 0x6
GOAWAY: Final = 0x7
WINDOW_UPDATE: Final = 0x8
CONTINUATION: Final = 0x9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
HAS_PRIORITY: Final = 0x20

SETTING_HEADER_TABLE_SIZE: Final = 0x1
SETTING_ENABLE_PUSH: Final = 0x2
SETTING_MAX_CONCURRENT_STREAMS: Final = 0x3
SETTING_INITIAL_WINDOW_SIZE: Final = 0x4
SETTING_MAX_FRAME_SIZE: Final = 0x5
SETTING_MAX_HEADER_LIST_SIZE: Final = 0x6

# length as 16 + 8 bits, kind, flags, stream id with its reserved bit
FRAME_HEADER: Final = struct.Struct(">HBBBL")
_SETTING: Final = struct.Struct(">HL")
_U32: Final = struct.Struct(">L")


class ErrorCode(enum.IntEnum):
    """Why a stream or a connection ended (RFC 9113 §7)."""

    NO_ERROR = 0x0
    PROTOCOL_ERROR = 0x1
    INTERNAL_ERROR = 0x2
    FLOW_CONTROL_ERROR = 0x3
    SETTINGS_TIMEOUT = 0x4
    STREAM_CLOSED = 0x5
    FRAME_SIZE_ERROR = 0x6
    REFUSED_STREAM = 0x7
    CANCEL = 0x8
    COMPRESSION_ERROR = 0x9
    CONNECT_ERROR = 0xA
    ENHANCE_YOUR_CALM = 0xB
    INADEQUATE_SECURITY = 0xC
    HTTP_1_1_REQUIRED = 0xD

    @classmethod
    def of(cls, number: int) -> ErrorCode:
        """The member for a number from the wire; unknown ones count as INTERNAL_ERROR (RFC 9113 §7)."""
        try:
            return cls(number)
        except ValueError:
            return cls.INTERNAL_ERROR


def frame_header(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    return FRAME_HEADER.pack(length >> 8, length & 0xFF, kind, flags, stream_id)


def settings_frame(values: Iterable[tuple[int, int]]) -> bytes:
    body = b"".join(_SETTING.pack(key, value) for key, value in values)
    return frame_header(len(body), SETTINGS, 0, 0) + body


def parse_settings(body: bytes) -> list[tuple[int, int]]:
    """Pairs of a SETTINGS payload, whose length is a multiple of 6."""
    return list(_SETTING.iter_unpack(body))


SETTINGS_ACK: Final = frame_header(0, SETTINGS, ACK, 0)


def window_update_frame(stream_id: int, increment: int) -> bytes:
    return frame_header(4, WINDOW_UPDATE, 0, stream_id) + _U32.pack(increment)


def reset_frame(stream_id: int, code: int) -> bytes:
    return frame_header(4, RST_STREAM, 0, stream_id) + _U32.pack(code)


def ping_frame(payload: bytes, *, ack: bool) -> bytes:
    return frame_header(8, PING, ACK if ack else 0, 0) + payload


def goaway_frame(last_stream_id: int, code: int, debug: bytes) -> bytes:
    return frame_header(8 + len(debug), GOAWAY, 0, 0) + _U32.pack(last_stream_id) + _U32.pack(code) + debug


def header_frames(stream_id: int, block: bytes, *, end_stream: bool, max_size: int) -> bytes:
    """HEADERS and as many CONTINUATION frames as the peer's frame size asks for."""
    flags = END_STREAM if end_stream else 0
    if len(block) <= max_size:
        return frame_header(len(block), HEADERS, flags | END_HEADERS, stream_id) + block
    out = [frame_header(max_size, HEADERS, flags, stream_id), block[:max_size]]
    for start in range(max_size, len(block), max_size):
        part = block[start : start + max_size]
        last = END_HEADERS if start + max_size >= len(block) else 0
        out += (frame_header(len(part), CONTINUATION, last, stream_id), part)
    return b"".join(out)
