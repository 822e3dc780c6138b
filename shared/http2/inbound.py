"""The connection-wide receive window, and how it is given back (RFC 9113 §6.9)."""

from __future__ import annotations

from shared.http2 import frames
from shared.http2.fault import ConnectionFault
from shared.http2.frames import ErrorCode
from shared.http2.limits import Limits
from shared.http2.outbox import Outbox


class InboundWindow:
    """Opens again as data arrives, whoever reads it, so that one slow stream stops no other: until `max_unread` is left lying about."""

    __slots__ = ("_limits", "_outbox", "_to_credit", "unread", "window")

    def __init__(self, limits: Limits, outbox: Outbox) -> None:
        self.window = limits.connection_window
        self.unread = 0
        self._limits = limits
        self._outbox = outbox
        self._to_credit = 0

    def received(self, size: int) -> None:
        """Of a DATA frame, padding included. Raises ConnectionFault when it is more than we allowed."""
        self.window -= size
        if self.window < 0:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more data than the connection window allows")
        self._to_credit += size

    def taken(self, size: int) -> None:
        """The application has it, or nobody ever will."""
        self.unread -= size
        self.give_back()

    def give_back(self) -> None:
        if self._to_credit * 4 >= self._limits.connection_window and self.unread <= self._limits.max_unread:
            self._outbox.put(frames.window_update_frame(0, self._to_credit))
            self.window += self._to_credit
            self._to_credit = 0
