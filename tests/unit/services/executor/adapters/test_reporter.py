"""Progress of tasks in batches."""

import asyncio
from typing import Any

from services.executor.adapters.reporter import BatchReporter, reporting
from shared.model import Digest
from shared.wire.messages import TaskProgress

VERTEX = Digest("sha256:" + "1" * 64)


class Heard:
    id, attempt = "x", 1

    def __init__(self) -> None:
        self.frames: list[TaskProgress] = []

    async def progress(self, message: Any) -> None:
        self.frames.append(message)


def talk(report: BatchReporter) -> None:
    for number in range(50):
        report.log(1, b"%d\n" % number)


async def test_everything_said_has_been_sent_at_the_end() -> None:
    """From threads, too, and in order."""
    heard = Heard()
    async with reporting(heard, VERTEX) as report:
        await asyncio.to_thread(talk, report)
        report.status("a", current=1)
        report.status("a", current=2, done=True)

    assert b"".join(c.data for f in heard.frames for c in f.logs) == b"".join(b"%d\n" % i for i in range(50))
    last = [s for f in heard.frames for s in f.statuses][-1]
    assert (last.id, last.current, last.vertex) == ("a", 2, VERTEX) and last.completed >= last.started > 0


async def test_frames_stay_small() -> None:
    """Below the bus' limit, whatever a step prints."""
    report = BatchReporter(VERTEX)
    report.log(2, b"x" * 500_000)

    assert max(sum(len(c.data) for c in f.logs) for f in report.take()) <= 32 << 10
    assert report.take() == []
