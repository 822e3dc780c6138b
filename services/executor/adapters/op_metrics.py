"""What an executor counts about its ops."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from shared.telemetry import Metrics, names

__all__ = ["OpMetrics"]


class OpMetrics:
    """How many, how they ended, how long they took."""

    def __init__(self, metrics: Metrics) -> None:
        self._ops, self._seconds = metrics.counter(names.OPS), metrics.histogram(names.OP_SECONDS)
        self._now = 0
        metrics.gauge(names.SLOTS_BUSY).watch(lambda: self._now)

    @contextmanager
    def running(self, op: object) -> Iterator[None]:
        """One op; it is called by its type: exec, file, merge, diff, source."""
        kind = type(op).__name__.removesuffix("Op").lower()
        began, status = time.monotonic(), "failure"
        self._now += 1
        try:
            yield
            status = "success"
        finally:
            self._now -= 1
            self._ops.add(1, kind, status)
            self._seconds.observe(time.monotonic() - began, kind)
