"""A frontend over its pipes: what it returns, and what it can't do to others."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from services.executor.adapters import frontend_server
from services.executor.adapters.container import Running
from services.executor.adapters.frontend_images import OwnBuild
from services.executor.adapters.frontend_server import serve
from services.executor.adapters.process import spawn
from services.executor.adapters.process_streams import open_streams
from shared.bridge.service import Bridge
from shared.bus.calls import Calls
from shared.bus.memory import MemoryBus
from shared.errors import BuildFailed, NotFound, first_failure
from shared.model import Platform, Ref
from shared.run.landings import Landings
from shared.session.registry import SessionRegistry
from shared.telemetry import Log
from shared.wire.messages import BridgeReadFile, BridgeResult, RunImage, Scope

ROOT = Path(__file__).parents[5]
REQUEST = RunImage(
    root=Ref(id="r", home="e"), op=b"", bridge="build.b.bridge", platform=Platform(os="linux", architecture="amd64"), scope=Scope(lease="b")
)


async def nothing_found(request: BridgeReadFile, served: Any) -> Any:
    raise NotFound(f"no such ref: {request.ref}")


class World:
    """Runs the program of the tests as a frontend; `answer` is the build's way with ReadFile."""

    def __init__(self, answer: Callable[[Any, Any], Any] = nothing_found) -> None:
        self.answer = answer
        self.running: Running | None = None

    async def run(self, *words: str) -> BridgeResult:
        try:
            return await self._run(*words)
        except BaseExceptionGroup as group:
            raise first_failure(group) from None

    async def _run(self, *words: str) -> BridgeResult:
        bus = MemoryBus()
        async with Calls(bus) as calls, asyncio.TaskGroup() as tasks, asyncio.timeout(60):
            up = asyncio.Event()
            serving = tasks.create_task(calls.serve(REQUEST.bridge, {BridgeReadFile: self.answer}, ready=up.set))
            await up.wait()
            build = OwnBuild(REQUEST, "e", calls, Landings(owner="e", relay="", registry=SessionRegistry(), bus=bus))
            try:
                with open_streams((0, 1, 2), terminal=False) as streams:
                    argv = [sys.executable, "-m", "tests.kit.frontend_program", *words]
                    child = spawn(argv, stdin=streams.theirs[0], given=streams.theirs, cwd=str(ROOT))
                    streams.passed()
                    self.running = Running(child=child, pid=lambda: child.pid, streams=streams)
                    try:
                        code, reason = await serve(self.running, streams, Bridge(build).routes(), Log())
                    finally:
                        await self.running.kill()
                return build.outcome(code, reason)
            finally:
                serving.cancel()


async def test_a_flood_of_calls_leaves_others_alone() -> None:
    """Two thousand calls for refs of other builds: all refused, and meanwhile the loop answers others in time."""
    world, worst = World(), 0.0
    loop = asyncio.get_running_loop()

    async def lag() -> None:
        nonlocal worst
        while True:
            before = loop.time()
            await asyncio.sleep(0.01)
            worst = max(worst, loop.time() - before - 0.01)

    async with asyncio.TaskGroup() as tasks:
        measuring = tasks.create_task(lag())
        result = await world.run("flood", "1999")
        measuring.cancel()

    assert result.metadata == {"last": b"no such ref: of-another-build"}
    assert worst < 1.0


async def test_calls_without_end_are_answered_at_a_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred at once, and then (here) one in a quarter of an hour."""
    monkeypatch.setattr(frontend_server, "_BURST", 100)
    monkeypatch.setattr(frontend_server, "_RATE", 0.001)
    answered, all_at_once = 0, asyncio.Event()

    async def counted(request: BridgeReadFile, served: Any) -> Any:
        nonlocal answered
        answered += 1
        if answered == 100:
            all_at_once.set()
        return await nothing_found(request, served)

    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(World(counted).run("flood", "150"))
        await all_at_once.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await asyncio.shield(running)
        running.cancel()

    assert answered == 100


async def test_a_huge_message_is_refused() -> None:
    result = await World().run("huge", str(1 << 30))

    assert b"larger than max" in result.metadata["said"]


async def test_large_messages_are_answered_a_few_at_a_time() -> None:
    """Else a frontend would fill the executor's memory with its 64 calls; all are answered in the end."""
    together = most = 0

    async def slow(request: BridgeReadFile, served: Any) -> Any:
        nonlocal together, most
        together += 1
        most = max(most, together)
        await asyncio.sleep(0)
        together -= 1
        raise NotFound("no such ref")

    result = await World(slow).run("large", "9")

    assert result.metadata == {"refused": b"9"}
    assert 1 <= most <= 4


async def test_the_first_answer_counts() -> None:
    assert (await World().run("twice")).metadata == {"first": b"1"}


@pytest.mark.parametrize("code", ["0", "3"])
async def test_an_error_that_is_returned_wins(code: str) -> None:
    with pytest.raises(BuildFailed, match=r"^my own words$"):
        await World().run("error", code)


async def test_a_bad_end_wins_over_a_result() -> None:
    with pytest.raises(BuildFailed, match=r"^exit code: 3$"):
        await World().run("then_fail", "3")


async def test_one_that_stays_is_killed_when_it_is_not_wanted() -> None:
    """With a thousand calls that nobody answers."""
    asked = asyncio.Event()

    async def stuck(request: BridgeReadFile, served: Any) -> Any:
        asked.set()
        await asyncio.Event().wait()

    world = World(stuck)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(world.run("stay", "1000"))
        await asked.wait()
        running.cancel()

    assert world.running is not None and world.running.child.ended
