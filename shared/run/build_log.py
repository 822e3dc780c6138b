"""Which builds a service has worked for, in its log: a line for each build, and at `debug` one for each piece of work."""

from collections import OrderedDict
from typing import Final

from shared.telemetry import Level, Log, Span

REMEMBERED: Final = 1024
"""Builds of which one line was written; one that comes back after so many others gets another."""


class BuildLog:
    """A sink of spans (shared.telemetry.Tracer.add_sink)."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._known: OrderedDict[str, None] = OrderedDict()

    def __call__(self, span: Span) -> None:
        """Spans of no build are not told of."""
        if not span.build:
            return
        ids = {"traceID": span.trace_id, "build": span.build}
        if span.build not in self._known:
            self._known[span.build] = None
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
            self._log.info("has worked for a build", **ids)
        if self._log.level <= Level.DEBUG:
            failed = {"error": span.error} if span.error else {}
            self._log.debug("did a piece of work", **ids, work=span.name, seconds=round((span.end - span.start) / 1e9, 4), **failed)
