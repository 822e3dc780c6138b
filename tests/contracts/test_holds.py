"""A key that its holder renews, on the memory bus and a real nats-server: one holder at a time, who knows in time when it is lost."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any

import pytest

from shared.bus.holds import Hold, Life
from shared.bus.memory import MemoryBus
from shared.bus.nats import NatsBus
from shared.bus.ports import Buckets, Entry, KeyValue
from shared.errors import Unavailable
from tests.contracts.test_bus_loss import Server

LIFE = Life(ttl=1.0, renew=0.1, look=0.05, margin=0.3)


@pytest.fixture(params=["memory", "nats"])
async def connect(request: pytest.FixtureRequest) -> AsyncIterator[Callable[[], Awaitable[KeyValue]]]:
    """The same bucket as each of several processes has it."""
    name = f"holds-{os.urandom(6).hex()}"
    memory = MemoryBus()
    async with AsyncExitStack() as stack:

        async def one() -> KeyValue:
            bus: Buckets = memory
            if request.param == "nats":
                bus = connected = await NatsBus.connect(request.getfixturevalue("nats").url)
                stack.push_async_callback(connected.close)
            return await bus.bucket(name, ttl=LIFE.ttl)

        yield one


class Clock:
    """A process's own clock; `stop`: it stood still for so long (SIGSTOP)."""

    def __init__(self) -> None:
        self.stood = 0.0

    def __call__(self) -> float:
        return asyncio.get_running_loop().time() + self.stood

    def stop(self, seconds: float) -> None:
        self.stood += seconds


class Broken:
    """A bucket behind a bus that is away while `away`; `deaf`: what is asked arrives, but no answer comes."""

    def __init__(self, bucket: KeyValue) -> None:
        self._bucket = bucket
        self.away = self.deaf = False

    def __getattr__(self, name: str) -> Any:
        async def ask(*args: Any, **options: Any) -> Any:
            if self.away:
                raise Unavailable("the bus is away")
            answer = await getattr(self._bucket, name)(*args, **options)
            if self.deaf:
                await asyncio.Event().wait()
            return answer

        return ask

    def disown(self, key: str) -> None:
        self._bucket.disown(key)


async def value(bucket: KeyValue) -> str:
    found: Entry | None = await bucket.get("key")
    return found.value.decode() if found is not None else ""


async def test_one_at_a_time_and_the_next_at_once(connect: Any) -> None:
    one, two = Hold(await connect(), "key", "one", LIFE), Hold(await connect(), "key", "two", LIFE)
    assert await one.take()
    assert not await two.take()
    refused = asyncio.Event()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(two.win(refused.set))
        await refused.wait()
        await one.release()
        await waiting
    assert await value(await connect()) == "two"


async def test_it_is_kept_for_longer_than_it_lives_by_itself(connect: Any) -> None:
    bucket = await connect()
    one, two = Hold(bucket, "key", "one", LIFE), Hold(await connect(), "key", "two", LIFE)
    await one.win()
    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(one.keep())
        await asyncio.sleep(2 * LIFE.ttl)
        assert not await two.take()
        keeping.cancel()


async def test_who_died_holds_nobody_up_for_long(connect: Any) -> None:
    one, two = Hold(await connect(), "key", "one", LIFE), Hold(await connect(), "key", "two", LIFE)
    assert await one.take()
    async with asyncio.timeout(4 * LIFE.ttl):
        await two.wait_free()
        await two.win()


async def test_who_stood_still_past_its_life_has_lost_it(connect: Any) -> None:
    """Even when the key is free again: somebody has had it meanwhile."""
    bucket, clock = await connect(), Clock()
    one = Hold(bucket, "key", "one", LIFE, clock=clock)
    await one.win()
    await bucket.delete("key")  # expired, held by another one, released
    clock.stop(100)

    async with asyncio.timeout(LIFE.ttl):
        await one.keep()

    assert await value(bucket) == ""


async def test_who_stood_still_for_less_goes_on(connect: Any) -> None:
    bucket, clock = await connect(), Clock()
    one = Hold(bucket, "key", "one", LIFE, clock=clock)
    await one.win()
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(one.keep())
        clock.stop(LIFE.ttl / 2 - LIFE.renew)
        await asyncio.sleep(3 * LIFE.renew)
        assert not keeping.done()
        keeping.cancel()


@pytest.mark.parametrize("how", ["away", "deaf"])
async def test_a_holder_that_is_cut_off_stops_before_another_can_begin(connect: Any, how: str) -> None:
    """The one waits for an error, the other for an answer that never comes."""
    bucket = Broken(await connect())
    one, two = Hold(bucket, "key", "one", LIFE), Hold(await connect(), "key", "two", LIFE)  # type: ignore[arg-type]
    await one.win()
    setattr(bucket, how, True)
    stopped, began = asyncio.Event(), asyncio.Event()

    async def keep() -> None:
        await one.keep()
        assert not began.is_set()
        stopped.set()

    async def follow() -> None:
        await two.win()
        assert stopped.is_set()
        began.set()

    async with asyncio.timeout(10), asyncio.TaskGroup() as tasks:
        tasks.create_task(keep())
        tasks.create_task(follow())
    assert await value(await connect()) == "two"


async def test_a_bus_that_is_away_for_a_moment_changes_nothing(connect: Any) -> None:
    troubles: list[str] = []
    bucket = Broken(await connect())
    one = Hold(bucket, "key", "one", LIFE, trouble=lambda error: troubles.append(error.message))  # type: ignore[arg-type]
    await one.win()
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(one.keep())
        bucket.away = True
        await asyncio.sleep(2.5 * LIFE.renew)
        bucket.away = False
        await asyncio.sleep(LIFE.ttl)
        assert not keeping.done()
        keeping.cancel()
    assert "the bus is away" in troubles


async def test_another_word_in_the_key_ends_it_and_stays(connect: Any) -> None:
    """A renewal is a compare-and-set that is lost; so is the deletion at the end."""
    bucket, other = await connect(), await connect()
    one = Hold(bucket, "key", "one", LIFE)
    await one.win()
    await other.put("key", b"two")

    async with asyncio.timeout(LIFE.ttl):
        await one.keep()
    await one.release()

    assert await value(other) == "two"


async def test_an_entry_of_ours_that_was_written_anew_is_still_ours(connect: Any) -> None:
    """An answer got lost, or the bus came back and the entry was announced again: the revision is another one."""
    bucket = await connect()
    one = Hold(bucket, "key", "one", LIFE)
    await one.win()
    await bucket.put("key", b"one")
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(one.keep())
        await asyncio.sleep(4 * LIFE.renew)
        assert not keeping.done()
        keeping.cancel()
    await one.release()
    assert await value(bucket) == ""


async def test_a_released_key_may_be_had_by_another_between_look_and_deletion(connect: Any) -> None:
    """Our time ran out in that very moment."""
    bucket = await connect()

    class Late(Broken):
        """Somebody else takes the key after it was looked at."""

        async def get(self, key: str) -> Entry | None:
            found: Entry | None = await bucket.get(key)
            await bucket.put(key, b"two")
            return found

    one = Hold(Late(bucket), "key", "one", LIFE)  # type: ignore[arg-type]
    await one.win()
    await one.release()
    assert await value(bucket) == "two"


@pytest.mark.slow
async def test_a_bus_that_lost_its_folder_is_told_again(tmp_path: Path) -> None:
    """A real server is killed and its folder removed: the holder goes on, and nobody else gets in."""
    life = Life(ttl=5.0, renew=0.2, look=0.1, margin=0.5)
    with ExitStack() as stack:
        server = Server(tmp_path, stack)
        first, second = await NatsBus.connect(server.nats.url), await NatsBus.connect(server.nats.url)
        one = Hold(await first.bucket("holds", ttl=life.ttl), "key", "one", life)
        theirs = await second.bucket("holds", ttl=life.ttl)
        two = Hold(theirs, "key", "two", life)
        await one.win()
        async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(one.keep())
            await asyncio.to_thread(server.again, wiped=True)
            while await value(theirs) != "one":  # noqa: ASYNC110 (another process)
                await asyncio.sleep(0.05)
            await asyncio.sleep(3 * life.renew)
            assert not keeping.done()
            assert not await two.take()
            keeping.cancel()
        await one.release()
        assert await two.take()
        await first.close()
        await second.close()
