"""The line by which clients see that a step waits, for what, and how many are before it: a status of its vertex."""

import time
from collections.abc import Callable
from dataclasses import replace

from services.solver.adapters.admission import Load
from services.solver.core.vertex import Digest
from services.solver.ports import Heard
from shared.model import Digest as ContentDigest
from shared.model import Platform, Status, format_platform


class WaitingNotes:
    """Of one vertex. Clients print a line for each new text, so equal ones are said once."""

    def __init__(self, vertex: Digest, platform: Platform, heard: Heard, now_ns: Callable[[], int] = time.time_ns) -> None:
        self._vertex, self._platform, self._heard, self._now_ns = ContentDigest(vertex), platform, heard, now_ns
        self._last: Status | None = None

    def say(self, ahead: int, load: Load) -> None:
        """It is not its turn yet."""
        slots = f"{min(load.busy, load.slots)} of {load.slots} slots busy" if load.executors else "no executor is there"
        text = f"waiting for an executor: {ahead} ahead, {format_platform(self._platform)}, {slots}"
        if self._last is not None and self._last.id == text:
            return
        self.end()
        now = self._now_ns()
        self._last = Status(vertex=self._vertex, id=text, name=text, timestamp=now, started=now)
        self._heard([self._last], [])

    def end(self) -> None:
        """It waits no longer (or another text follows)."""
        if self._last is not None:
            now = self._now_ns()
            self._heard([replace(self._last, timestamp=now, completed=now)], [])
            self._last = None
