"""Counts what costs us work and the peer nothing; without a clock, the shell says when time has passed (`relax`)."""

from __future__ import annotations

from shared.http2.fault import ConnectionFault
from shared.http2.frames import ErrorCode
from shared.http2.limits import Limits


class FloodGuard:
    """Raises ConnectionFault(ENHANCE_YOUR_CALM) when a peer only keeps us busy."""

    __slots__ = ("_abandoned", "_idle", "_limits")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._idle = 0
        self._abandoned = 0

    def idle_frame(self, kind: str) -> None:
        """A frame that moved nothing forward."""
        self._idle += 1
        if self._idle > self._limits.max_idle_frames:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, f"too many {kind} frames with nothing useful between them")

    def useful(self) -> None:
        """Data or a request came or went."""
        self._idle = 0

    def stream_abandoned(self) -> None:
        self._abandoned += 1
        if self._abandoned > self._limits.max_abandoned:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many streams opened and reset")

    def stream_finished(self) -> None:
        if self._abandoned:
            self._abandoned -= 1

    def relax(self) -> None:
        self._idle = 0
        self._abandoned = 0
