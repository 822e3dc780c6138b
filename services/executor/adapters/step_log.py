"""The output of one step: clipped per stream, then reported."""

from __future__ import annotations

import asyncio
import sys

from services.executor.core.log_limit import LogLimits, StreamLimit
from services.executor.ports import Reporter

__all__ = ["StepLog"]


class StepLog:
    """`echo` copies what was shown to this process's stderr (BUILDKIT_DEBUG_EXEC_OUTPUT)."""

    def __init__(self, report: Reporter, limits: LogLimits, *, echo: bool = False) -> None:
        self._report = report
        self._echo = echo
        self._streams = {number: StreamLimit(limits) for number in (1, 2)}
        self._said: set[int] = set()
        self._began = asyncio.get_running_loop().time()

    def write(self, stream: int, data: bytes) -> None:
        """Bytes as the process wrote them."""
        self._said.add(stream)
        shown = self._streams[stream].admit(data, asyncio.get_running_loop().time() - self._began)
        self._show(stream, shown)

    def said(self, stream: int) -> bool:
        """Whether anything came on a stream."""
        return stream in self._said

    def _show(self, stream: int, data: bytes) -> None:
        if not data:
            return
        self._report.log(stream, data)
        if self._echo:
            sys.stderr.buffer.write(data)
            sys.stderr.buffer.flush()

    def failed(self) -> None:
        """Show the end of what was clipped: it tells why the step failed."""
        for stream, limit in self._streams.items():
            self._show(stream, limit.tail())
