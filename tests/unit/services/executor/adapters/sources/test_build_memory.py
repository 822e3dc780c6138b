"""Within a build a question has one answer."""

import asyncio

import pytest

from services.executor.adapters.sources.build_memory import BuildMemory
from shared.errors import NotFound


async def test_once_per_build() -> None:
    """Asked at the same time or later, by one build once, by another again."""
    memory: BuildMemory[int] = BuildMemory()
    calls: list[str] = []

    async def ask() -> int:
        calls.append("x")
        await asyncio.sleep(0)
        return len(calls)

    async with asyncio.TaskGroup() as tasks:
        answers = [tasks.create_task(memory.once("b1", "q", ask)) for _ in range(5)]
    assert [a.result() for a in answers] == [1] * 5
    assert (await memory.once("b1", "q", ask), await memory.once("b2", "q", ask), await memory.once("b1", "other", ask)) == (1, 2, 3)
    assert memory.statistics() == {"answers": 3, "asking": 0}


async def test_failures_are_not_kept() -> None:
    """The next one asks again."""
    memory: BuildMemory[int] = BuildMemory()

    async def fail() -> int:
        raise NotFound("no")

    async def work() -> int:
        return 1

    with pytest.raises(NotFound):
        await memory.once("b", "q", fail)
    assert await memory.once("b", "q", work) == 1


async def test_bounded() -> None:
    """The oldest answers go."""
    memory: BuildMemory[int] = BuildMemory(keep=2)

    async def work() -> int:
        return 1

    for question in "abcd":
        await memory.once("b", question, work)
    assert memory.statistics()["answers"] == 2
