"""Slots: what is asked for by name waits a little, then is refused; nothing is ever pushed onto a full executor."""

import asyncio
from typing import Any

import pytest

from services.executor.adapters import tasks as module
from services.executor.adapters.joined_ops import JoinedOps
from services.executor.adapters.op_metrics import OpMetrics
from services.executor.adapters.tasks import Tasks
from services.executor.service.run import slots_of
from shared.errors import Exhausted
from shared.model import Digest, Platform
from shared.telemetry import Metrics
from shared.wire.messages import OpDone, RunOp, Scope

REQUEST = RunOp(
    vertex=Digest("sha256:" + "1" * 64),
    attempt=1,
    op=b"",
    platform=Platform(os="linux", architecture="amd64"),
    inputs=(),
    scope=Scope(lease="l"),
)


class Served:
    """A call without a caller."""

    id, attempt = "1", 1

    async def progress(self, message: Any) -> None:
        return None


class Counted(Tasks):
    """Runs nothing, and says how much runs at once."""

    def __init__(self, slots: int) -> None:
        super().__init__(
            home="a",
            materialise=None,  # type: ignore[arg-type]
            store=None,  # type: ignore[arg-type]
            runners={},
            drivers={},
            slots=asyncio.Semaphore(slots),
            joined=JoinedOps(None),  # type: ignore[arg-type]
            metrics=OpMetrics(Metrics()),
        )
        self.go_on = asyncio.Event()
        self.running = 0

    async def run(self, request: RunOp, served: Any) -> OpDone:
        self.running += 1
        await self.go_on.wait()
        return OpDone(outputs=(), executor="a")


async def test_a_full_executor_refuses_after_its_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exhausted: somebody else may do it."""
    monkeypatch.setattr(module, "GRACE", 0.02)
    tasks = Counted(1)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        first = group.create_task(tasks.run_pinned(REQUEST, Served()))
        await asyncio.sleep(0)
        with pytest.raises(Exhausted):
            await tasks.run_pinned(REQUEST, Served())
        assert tasks.running == 1
        tasks.go_on.set()
        assert (await first).executor == "a"
        await tasks.run_pinned(REQUEST, Served())


async def test_a_slot_that_gets_free_in_time_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the grace it just waits."""
    monkeypatch.setattr(module, "GRACE", 5.0)
    tasks = Counted(1)
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        group.create_task(tasks.run_pinned(REQUEST, Served()))
        await asyncio.sleep(0)
        second = group.create_task(tasks.run_pinned(REQUEST, Served()))
        await asyncio.sleep(0)
        tasks.go_on.set()
        await second


def test_slots_follow_cores_and_memory() -> None:
    """Four to a core, as far as memory goes; always one."""
    assert slots_of(2, 16 << 30, 256 << 20) == 8
    assert slots_of(16, 4 << 30, 256 << 20) == 16
    assert slots_of(4, 1 << 20, 256 << 20) == 1
    assert slots_of(4, 1 << 20, 0) == 16
