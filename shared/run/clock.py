"""Time enters here, so that tests can set it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time and a steady one."""

    def now_ns(self) -> int:
        """Nanoseconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...


class SystemClock:
    """The machine's."""

    def now_ns(self) -> int:
        return time.time_ns()

    def monotonic(self) -> float:
        return time.monotonic()


class FixedClock:
    """Stands still until it is moved."""

    def __init__(self, now_ns: int = 1_700_000_000_000_000_000) -> None:
        self._now = now_ns

    def now_ns(self) -> int:
        return self._now

    def monotonic(self) -> float:
        return self._now / 1e9

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._now += int(seconds * 1e9)
