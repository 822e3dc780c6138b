"""How much a step may print before its output is clipped (util/progress/logs/logs.go; reference 03 §8)."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

__all__ = ["LogLimits", "StreamLimit"]

_KEPT = 256 << 10
_UNITS = ("B", "KiB", "MiB", "GiB")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLimits:
    """Bytes in all, and bytes per second on average, of one stream; -1 = no limit."""

    size: int = 2 << 20
    speed: int = 200 << 10


class StreamLimit:
    """One stream of one step. The time is an argument: seconds since the stream began."""

    def __init__(self, limits: LogLimits) -> None:
        self._limits = limits
        self._size = 0
        self._clipping = False
        self._kept: deque[bytes] | None = None
        self._kept_size = 0

    def admit(self, data: bytes, age: float) -> bytes:
        """What of `data` is shown; the first time something is cut off, with a notice."""
        allowed, reason = self._allowed(len(data), age)
        if allowed < len(data) and self._kept is None:
            self._kept = deque()
        self._keep(data)
        shown = data[:allowed]
        cut = allowed < len(data)
        if cut and not self._clipping:
            shown += f"\n[output clipped, log limit {reason} reached]\n".encode()
        self._clipping = cut
        return shown

    def _allowed(self, count: int, age: float) -> tuple[int, str]:
        before, self._size = self._size, self._size + count
        ceiling, reason = -1, ""
        if self._limits.speed != -1:
            ceiling, reason = math.ceil(age) * self._limits.speed, _bytes(self._limits.speed) + "/s"
        if ceiling == -1 or (self._limits.size != -1 and ceiling > self._limits.size):
            ceiling, reason = self._limits.size, _bytes(self._limits.size)
        if ceiling == -1:
            return count, ""
        return max(0, min(count, ceiling - before)), reason

    def _keep(self, data: bytes) -> None:
        if self._kept is None:
            return
        self._kept.append(data[-_KEPT:])
        self._kept_size += len(self._kept[-1])
        while self._kept and self._kept_size - len(self._kept[0]) >= _KEPT:
            self._kept_size -= len(self._kept.popleft())

    def tail(self) -> bytes:
        """The last 256 KiB since clipping began, to be shown when the step failed; empty when nothing was clipped."""
        if self._kept is None:
            return b""
        data = b"".join(self._kept)[-_KEPT:]
        self._kept = None
        return data


def _bytes(count: int) -> str:
    value, unit = float(count), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:g}{_UNITS[unit]}"
