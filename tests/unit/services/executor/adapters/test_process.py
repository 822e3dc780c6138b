"""Child processes, on both event loops."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from services.executor.adapters.process import capture, spawn


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[None]]], None]:
    def go(body: Callable[[], Awaitable[None]]) -> None:
        async def main() -> None:
            async with asyncio.timeout(20):
                await body()

        uvloop.run(main()) if request.param == "uvloop" else asyncio.run(main())

    return go


Run = Callable[[Callable[[], Awaitable[None]]], None]


def test_output_input_and_code(run: Run) -> None:
    async def body() -> None:
        assert await capture(["sh", "-c", "cat; echo err >&2; exit 7"], data=b"in") == (7, b"in", b"err\n")

    run(body)


def test_large_output_in_order(run: Run) -> None:
    async def body() -> None:
        code, out, _ = await capture(["sh", "-c", "seq 200000"])
        assert code == 0 and out == b"".join(b"%d\n" % n for n in range(1, 200001))

    run(body)


def test_environment_and_directory(run: Run) -> None:
    async def body() -> None:
        code, out, _ = await capture(["/bin/sh", "-c", "pwd; echo $A"], env={"A": "b"}, cwd="/usr")
        assert (code, out) == (0, b"/usr\nb\n")

    run(body)


def test_death_by_signal(run: Run) -> None:
    async def body() -> None:
        child = spawn(["sh", "-c", "kill -9 $$"])
        assert await child.wait() == -9 and child.ended

    run(body)


def test_missing_program(run: Run) -> None:
    async def body() -> None:
        with pytest.raises(FileNotFoundError):
            spawn(["/nope"])

    run(body)


def test_cancel_kills(run: Run) -> None:
    async def body() -> None:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await capture(["sleep", "60"])
        assert time.monotonic() - began < 10

    run(body)


def test_nothing_is_left_open(run: Run) -> None:
    async def body() -> None:
        await capture(["true"])
        before = sorted(os.listdir("/proc/self/fd"))
        for _ in range(5):
            await capture(["sh", "-c", "echo x"], data=b"y")
        assert sorted(os.listdir("/proc/self/fd")) == before

    run(body)
