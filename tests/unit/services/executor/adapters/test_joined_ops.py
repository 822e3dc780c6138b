"""A build that changes its solver finds its step still running; other builds, and other inputs, run for themselves."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from services.executor.adapters.joined_ops import Hearing, JoinedOps
from shared.errors import BuildFailed
from shared.model import Digest, Platform, Ref
from shared.wire.messages import OpDone, RunOp, Scope

REQUEST = RunOp(
    vertex=Digest("sha256:" + "1" * 64),
    attempt=1,
    op=b"op",
    platform=Platform(os="linux", architecture="amd64"),
    inputs=(Ref(id="input"),),
    scope=Scope(lease="build"),
)


class Ears:
    """A call."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def progress(self, message: Any) -> None:
        self.heard.append(message)


class Step:
    """Waits until it is let go, and counts."""

    def __init__(self, error: Exception | None = None) -> None:
        self.begun, self.go_on = asyncio.Event(), asyncio.Event()
        self.runs = self.canceled = 0
        self._error = error

    async def __call__(self, hearing: Hearing) -> OpDone:
        self.runs += 1
        self.begun.set()
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)  # a container is killed
            self.canceled += 1
            raise
        await hearing.progress("end")
        if self._error is not None:
            raise self._error
        return OpDone(outputs=(), executor="e")


async def test_the_next_solver_joins() -> None:
    """The first one's call is cancelled after its grace; the step goes on for the other, who hears it."""
    step, first, second = Step(), Ears(), Ears()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        ops = JoinedOps(tasks)
        orphan = tasks.create_task(ops.run(REQUEST, first, step))
        await step.begun.wait()
        assert ops.is_running(REQUEST)
        asked = tasks.create_task(ops.run(replace(REQUEST, attempt=2), second, step))
        await asyncio.sleep(0)
        orphan.cancel()
        await asyncio.wait([orphan])
        step.go_on.set()
        assert (await asked).executor == "e"
        assert not ops.is_running(REQUEST)

    assert (step.runs, step.canceled) == (1, 0)
    assert (first.heard, second.heard) == ([], ["end"])


@pytest.mark.parametrize(
    "other", [replace(REQUEST, scope=Scope(lease="other")), replace(REQUEST, inputs=(Ref(id="again"),)), replace(REQUEST, op=b"other")]
)
async def test_what_is_not_equal_runs_for_itself(other: RunOp) -> None:
    step = Step()
    step.go_on.set()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        ops = JoinedOps(tasks)
        for request in (REQUEST, other):
            tasks.create_task(ops.run(request, Ears(), step))
    assert step.runs == 2


async def test_when_nobody_wants_it_it_ends() -> None:
    step = Step()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        ops = JoinedOps(tasks)
        calls = [tasks.create_task(ops.run(REQUEST, Ears(), step)) for _ in range(2)]
        await step.begun.wait()
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        assert step.canceled == 1
        assert not ops.is_running(REQUEST)


async def test_its_error_is_everybodys() -> None:
    step = Step(BuildFailed("exit code: 1"))
    step.go_on.set()
    async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
        with pytest.raises(BuildFailed, match="exit code: 1"):
            await JoinedOps(tasks).run(REQUEST, Ears(), step)
