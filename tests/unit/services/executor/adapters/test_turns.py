"""Turns: one at a time per key, in order, and nothing is left of a key that nobody wants."""

import asyncio

import pytest

from services.executor.adapters.turns import Turns


async def test_one_at_a_time_and_in_order() -> None:
    turns, log = Turns[str](), list[str]()

    async def use(name: str) -> None:
        async with turns.alone("k"):
            log.append(f"+{name}")
            await asyncio.sleep(0)
            log.append(f"-{name}")

    async with asyncio.TaskGroup() as tasks:
        for name in "abc":
            tasks.create_task(use(name))

    assert "".join(log) == "+a-a+b-b+c-c"
    assert turns.statistics() == {"keys": 0}


async def test_keys_do_not_wait_for_each_other() -> None:
    turns = Turns[str]()

    async with asyncio.timeout(5), turns.alone("a"), turns.alone("b"):
        assert turns.statistics() == {"keys": 2}


async def test_who_is_cancelled_or_fails_leaves_the_turn_to_the_next() -> None:
    turns, entered = Turns[str](), asyncio.Event()

    async def wait() -> None:
        async with turns.alone("k"):
            entered.set()

    async with asyncio.TaskGroup() as tasks:
        with pytest.raises(ValueError, match="x"):
            async with turns.alone("k"):
                waiting, next_one = tasks.create_task(wait()), tasks.create_task(wait())
                await asyncio.sleep(0)
                waiting.cancel()
                raise ValueError("x")
        async with asyncio.timeout(5):
            await next_one

    assert entered.is_set() and turns.statistics() == {"keys": 0}
