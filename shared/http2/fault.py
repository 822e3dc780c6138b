"""Internal signals of the receive loop; neither leaves this package."""

from __future__ import annotations

from shared.http2.frames import ErrorCode


class ConnectionFault(Exception):
    """The peer broke a rule that ends the connection (RFC 9113 §5.4.1)."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class StreamFault(Exception):
    """The peer broke a rule that ends one stream (RFC 9113 §5.4.2)."""

    def __init__(self, stream_id: int, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.stream_id = stream_id
        self.code = code


def protocol_fault(reason: str) -> ConnectionFault:
    return ConnectionFault(ErrorCode.PROTOCOL_ERROR, reason)
