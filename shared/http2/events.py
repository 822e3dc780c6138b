"""What `Connection.feed` tells: a closed union of facts, in the order in which they happened on each stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from shared.http2.frames import ErrorCode

Headers: TypeAlias = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class HeadersReceived:
    """A request, a response, or trailers (`trailing`: the stream had its first block already)."""

    stream_id: int
    headers: Headers
    end_stream: bool
    trailing: bool


@dataclass(frozen=True, slots=True)
class DataReceived:
    """Bytes of one stream, all that neighbouring DATA frames of one `feed` held. Answer with `acknowledge(stream_id, flow_size)`
    once they have been taken; `flow_size` counts padding too.
    """

    stream_id: int
    data: bytes
    flow_size: int
    end_stream: bool


@dataclass(frozen=True, slots=True)
class StreamReset:
    """The peer broke off the stream, or broke a rule on it (`by_peer` is false then, and our RST_STREAM is under way)."""

    stream_id: int
    code: ErrorCode
    by_peer: bool


@dataclass(frozen=True, slots=True)
class GoAwayReceived:
    """The peer takes no new streams; ours above `last_stream_id` were not looked at and may be sent elsewhere."""

    last_stream_id: int
    code: ErrorCode
    debug: bytes


@dataclass(frozen=True, slots=True)
class PingAnswered:
    payload: bytes


@dataclass(frozen=True, slots=True)
class ConnectionEnded:
    """The connection is of no more use: a rule was broken (`reason` says which). Write what `take` still holds, then close."""

    code: ErrorCode
    reason: str


Event: TypeAlias = HeadersReceived | DataReceived | StreamReset | GoAwayReceived | PingAnswered | ConnectionEnded
