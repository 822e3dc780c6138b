"""HTTP/2 without I/O: bytes in → events and bytes out, client and server role alike (RFC 9113).

Nouns: `Connection` (one peer's view of a connection), `Limits` (what we announce and how much a peer may ask of us),
`Event` (what happened), `ErrorCode`. Frames and flow control are by hand, header decompression is `hpack`'s.

    connection = Connection(role=Role.SERVER)
    for event in connection.feed(data): ...
    transport.write(connection.take())

`feed` never raises for what a peer sends: a violation queues a GOAWAY and comes out as `ConnectionEnded`.
It knows no clock, socket or task; `relax()` is to be called now and then so that the flood counters forget.
"""

from shared.http2.connection import Connection
from shared.http2.events import (
    ConnectionEnded,
    DataReceived,
    Event,
    GoAwayReceived,
    Headers,
    HeadersReceived,
    PingAnswered,
    StreamReset,
)
from shared.http2.frames import ErrorCode
from shared.http2.headers import encode as encode_headers
from shared.http2.limits import Limits
from shared.http2.streams import Role

__all__ = [
    "Connection",
    "ConnectionEnded",
    "DataReceived",
    "ErrorCode",
    "Event",
    "GoAwayReceived",
    "Headers",
    "HeadersReceived",
    "Limits",
    "PingAnswered",
    "Role",
    "StreamReset",
    "encode_headers",
]
