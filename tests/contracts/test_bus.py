"""The bus contract: memory and a real nats-server with JetStream do the same."""

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.bus.memory import MemoryBus
from shared.bus.nats import NatsBus
from shared.bus.ports import Bus, Delivery, Lease, Subscription
from shared.bus.sqlite_kv import SqliteBuckets

ACK_WAIT = 1.0
KINDS = ["memory", "memory+sqlite", "nats"]


def unique(text: str) -> str:
    """The servers are shared: every test uses names of its own."""
    return f"{text}-{os.urandom(6).hex()}"


@pytest.fixture(params=KINDS)
async def bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bus]:
    made: Bus
    match request.param:
        case "memory":
            made = MemoryBus(ack_wait=ACK_WAIT)
        case "memory+sqlite":
            made = MemoryBus(ack_wait=ACK_WAIT, kept=SqliteBuckets(tmp_path / "kept.db"))
        case _:
            made = await NatsBus.connect(request.getfixturevalue("nats").url, ack_wait=ACK_WAIT)
    yield made
    await made.close()


async def next_of(subscription: Subscription) -> Delivery:
    async with asyncio.timeout(5):
        return await anext(aiter(subscription))


async def pulled(bus: Bus, subject: str) -> Lease:
    lease = await bus.pull(subject, within=5)
    assert lease is not None
    return lease


async def test_a_subscriber_gets_what_is_published(bus: Bus) -> None:
    subject = unique("t.a")

    async with bus.subscribe(subject) as heard:
        await bus.publish(subject, b"one", reply="r.x", headers={"a": "b"})
        got = await next_of(heard)

    assert (got.subject, got.data, got.reply, dict(got.headers)) == (subject, b"one", "r.x", {"a": "b"})


async def test_every_subscriber_gets_a_copy_but_a_queue_shares(bus: Bus) -> None:
    subject = unique("t.q")
    got: list[str] = []
    complete = asyncio.Event()

    async def listen(name: str, subscription: Subscription) -> None:
        async for _ in subscription:
            got.append(name)
            if len(got) == 40:
                complete.set()

    async with (
        bus.subscribe(subject) as alone,
        bus.subscribe(subject, queue="g") as one,
        bus.subscribe(subject, queue="g") as two,
        asyncio.TaskGroup() as tasks,
    ):
        listeners = [tasks.create_task(listen(n, s)) for n, s in (("alone", alone), ("queue", one), ("queue", two))]
        for i in range(20):
            await bus.publish(subject, b"%d" % i)
        async with asyncio.timeout(5):
            await complete.wait()
        for listener in listeners:
            listener.cancel()

    assert (got.count("alone"), got.count("queue")) == (20, 20)


@pytest.mark.parametrize(
    ("pattern", "hit", "miss"), [("{}.>", "{}.a.b", "{}"), ("{}.*.c", "{}.a.c", "{}.a.b.c"), ("{}.*.>", "{}.a.b.c", "{}.a")]
)
async def test_wildcards(bus: Bus, pattern: str, hit: str, miss: str) -> None:
    base = unique("w")

    async with bus.subscribe(pattern.format(base)) as heard:
        await bus.publish(miss.format(base), b"miss")
        await bus.publish(hit.format(base), b"hit")
        got = await next_of(heard)

    assert got.data == b"hit"


async def test_nobody_listening_is_told_to_whoever_wants_an_answer(bus: Bus) -> None:
    inbox = bus.new_inbox()

    async with bus.subscribe(inbox + ".>") as answers:
        await bus.publish(unique("nobody"), b"?", reply=inbox + ".1")
        got = await next_of(answers)

    assert (got.subject, got.data) == (inbox + ".1", b"")


@pytest.mark.slow
async def test_work_goes_to_one_puller_and_is_gone_when_done(bus: Bus) -> None:
    subject = unique("work.a")
    await bus.enqueue(subject, b"job", key=unique("k"), headers={"reply": "r"})

    lease = await pulled(bus, subject)
    seen = (lease.delivery.data, lease.delivery.headers["reply"], lease.attempt, await bus.depth(subject))
    await lease.done()
    await asyncio.sleep(ACK_WAIT * 1.5)

    assert seen == (b"job", "r", 1, 0)
    assert await bus.pull(subject, within=0.1) is None


async def test_a_puller_waits_for_work_and_work_waits_for_a_puller(bus: Bus) -> None:
    subject = unique("work.w")

    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(bus.pull(subject, within=5))
        await asyncio.sleep(0.05)
        await bus.enqueue(subject, b"1", key=unique("k"))

    lease = waiting.result()
    assert lease is not None
    assert lease.delivery.data == b"1"
    await lease.done()


async def test_the_same_key_is_queued_once(bus: Bus) -> None:
    subject, key = unique("work.k"), unique("k")

    await bus.enqueue(subject, b"first", key=key)
    await bus.enqueue(subject, b"second", key=key)

    assert await bus.depth(subject) == 1
    assert (await pulled(bus, subject)).delivery.data == b"first"


@pytest.mark.slow
async def test_work_that_nobody_keeps_goes_to_another(bus: Bus) -> None:
    subject = unique("work.l")
    await bus.enqueue(subject, b"job", key=unique("k"))
    await pulled(bus, subject)

    again = await pulled(bus, subject)

    assert (again.delivery.data, again.attempt) == (b"job", 2)
    await again.done()


@pytest.mark.slow
async def test_work_that_is_kept_stays(bus: Bus) -> None:
    subject = unique("work.p")
    await bus.enqueue(subject, b"job", key=unique("k"))
    lease = await pulled(bus, subject)

    for _ in range(4):
        await asyncio.sleep(ACK_WAIT / 2)
        await lease.keep()

    assert await bus.pull(subject, within=0.1) is None
    await lease.done()


async def test_work_given_back_is_delivered_again_at_once(bus: Bus) -> None:
    subject = unique("work.b")
    await bus.enqueue(subject, b"job", key=unique("k"))

    await (await pulled(bus, subject)).give_back()
    again = await bus.pull(subject, within=ACK_WAIT / 2)

    assert again is not None
    assert again.attempt == 2
    await again.done()
    await again.done()


async def test_a_log_replays_and_goes_on(bus: Bus) -> None:
    subject = f"build.{unique('b')}.events"
    first = await bus.append(subject, b"1")
    second = await bus.append(subject, b"2")

    async with bus.follow(subject) as all_of_it, bus.follow(subject, after=first) as later:
        got = [await next_of(all_of_it), await next_of(all_of_it)]
        got_later = [await next_of(later)]
        await bus.append(subject, b"3")
        got.append(await next_of(all_of_it))
        got_later.append(await next_of(later))

    assert [d.data for d in got] == [b"1", b"2", b"3"]
    assert [d.data for d in got_later] == [b"2", b"3"]
    assert got[0].sequence == first < second == got[1].sequence


async def test_logs_keep_apart(bus: Bus) -> None:
    one, two = (f"build.{unique('b')}.events" for _ in range(2))
    await bus.append(one, b"1")
    await bus.append(two, b"2")

    async with bus.follow(two) as heard:
        assert (await next_of(heard)).data == b"2"


async def test_a_bucket_reads_what_was_written(bus: Bus) -> None:
    bucket = await bus.bucket(unique("kv"))

    nothing = await bucket.get("a.b")
    revision = await bucket.put("a.b", b"1")
    found = await bucket.get("a.b")

    assert nothing is None
    assert found is not None
    assert (found.key, found.value, found.revision) == ("a.b", b"1", revision)


async def test_create_only_when_absent_and_update_only_in_sequence(bus: Bus) -> None:
    bucket = await bus.bucket(unique("kv"))

    first = await bucket.create("k", b"1")
    again = await bucket.create("k", b"2")
    assert first is not None
    updated = await bucket.update("k", b"3", revision=first)
    stale = await bucket.update("k", b"4", revision=first)

    found = await bucket.get("k")
    assert found is not None
    assert (again, stale, found.value, found.revision) == (None, None, b"3", updated)


async def test_delete_is_idempotent_and_makes_room_for_create(bus: Bus) -> None:
    bucket = await bus.bucket(unique("kv"))
    await bucket.put("k", b"1")

    await bucket.delete("k")
    await bucket.delete("k")

    assert await bucket.get("k") is None
    assert await bucket.create("k", b"2") is not None


async def test_entries_are_sorted_and_chosen_by_prefix(bus: Bus) -> None:
    bucket = await bus.bucket(unique("kv"))
    for key in ("b.2", "a.1", "b.1"):
        await bucket.put(key, key.encode())
    await bucket.put("b.3", b"")
    await bucket.delete("b.3")

    assert [e.key for e in await bucket.entries()] == ["a.1", "b.1", "b.2"]
    assert [e.value for e in await bucket.entries("b.")] == [b"b.1", b"b.2"]


async def test_a_watch_tells_what_is_and_what_changes(bus: Bus) -> None:
    bucket = await bus.bucket(unique("kv"))
    await bucket.put("x.1", b"1")
    await bucket.put("y.1", b"1")

    async with asyncio.timeout(10), bucket.watch("x.") as changes:
        got = [await anext(changes)]
        await bucket.put("x.2", b"2")
        got.append(await anext(changes))
        await bucket.delete("x.1")
        got.append(await anext(changes))

    assert [(key, None if entry is None else entry.value) for key, entry in got] == [("x.1", b"1"), ("x.2", b"2"), ("x.1", None)]


@pytest.mark.slow
async def test_entries_with_a_ttl_go_unless_written_again(bus: Bus) -> None:
    bucket = await bus.bucket(unique("kv"), ttl=1.0)
    await bucket.put("gone", b"1")
    await bucket.put("kept", b"1")
    told: list[str] = []

    async with asyncio.timeout(10), bucket.watch() as changes:
        for _ in range(2):
            await anext(changes)
        for _ in range(6):
            await asyncio.sleep(0.3)
            await bucket.put("kept", b"2")
        async for key, entry in changes:
            if entry is None:
                told.append(key)
                break

    assert told == ["gone"]
    assert await bucket.get("gone") is None
    assert await bucket.get("kept") is not None


async def test_buckets_opened_at_once_by_several(bus: Bus) -> None:
    name = unique("kv")
    async with asyncio.TaskGroup() as tasks:
        opened = [tasks.create_task(bus.bucket(n)) for n in (name, name, unique("kv"), name)]
    await opened[0].result().put("k", b"1")

    found = [await task.result().get("k") for task in opened]
    assert [entry is not None for entry in found] == [True, True, False, True]


async def test_the_same_bucket_from_two_sides(bus: Bus) -> None:
    name = unique("kv")
    one, two = await bus.bucket(name), await bus.bucket(name)

    await one.put("k", b"1")

    found = await two.get("k")
    assert found is not None
    assert found.value == b"1"


async def test_entries_are_all_there_while_they_are_written_again(bus: Bus) -> None:
    """A listing has every key that existed before it began, whatever is written to it meanwhile."""
    bucket = await bus.bucket(unique("t-listed"))
    keys = [f"k{n}" for n in range(10)]
    for key in keys:
        await bucket.put(key, b"0")
    ended = asyncio.Event()

    async def write() -> None:
        while not ended.is_set():
            for key in keys:
                await bucket.put(key, b"again")

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        incomplete = [listed for _ in range(300) if (listed := [entry.key for entry in await bucket.entries()]) != keys]
        ended.set()

    assert incomplete == []
