"""Buckets in memory and on disk, where they are finer than the contract."""

from pathlib import Path

import pytest

from shared.bus.memory import MemoryBus
from shared.bus.memory_kv import WATCH_LIMIT, MemoryKeyValue
from shared.bus.sqlite_kv import SqliteBuckets
from shared.errors import BusOverrun


async def test_a_watcher_that_sleeps_is_ended_not_fed_for_ever() -> None:
    bucket = MemoryKeyValue()
    async with bucket.watch() as changes:
        for i in range(WATCH_LIMIT + 1):
            await bucket.put("k", b"%d" % i)
        with pytest.raises(BusOverrun):
            async for _ in changes:
                pass


async def test_a_subscriber_that_sleeps_is_ended() -> None:
    bus = MemoryBus(limit=3)
    async with bus.subscribe("s") as heard:
        for i in range(5):
            await bus.publish("s", b"%d" % i)
        got = []
        with pytest.raises(BusOverrun):
            async for delivery in heard:
                got.append(delivery.data)

    assert got == [b"0", b"1", b"2"]


async def test_kept_buckets_survive(tmp_path: Path) -> None:
    first = SqliteBuckets(tmp_path / "kept.db")
    bucket = await first.bucket("history")
    await bucket.put("a", b"1")
    await bucket.put("b", b"2")
    revision = await bucket.put("a", b"3")
    await bucket.delete("b")
    await first.close()

    second = SqliteBuckets(tmp_path / "kept.db")
    bucket = await second.bucket("history")
    assert [(e.key, e.value, e.revision) for e in await bucket.entries()] == [("a", b"3", revision)]
    assert await bucket.update("a", b"4", revision=revision) == revision + 1
    assert [e.key for e in await (await second.bucket("other")).entries()] == []
    await second.close()


async def test_a_damaged_file_is_moved_aside(tmp_path: Path) -> None:
    damaged = tmp_path / "kept.db"
    damage(damaged)
    buckets = SqliteBuckets(damaged)

    assert await (await buckets.bucket("x")).entries() == []
    await buckets.close()
    assert (tmp_path / "kept.damaged").exists()


def damage(path: Path) -> None:
    path.write_bytes(b"junk" * 1000)


async def test_buckets_with_a_ttl_are_not_kept(tmp_path: Path) -> None:
    bus = MemoryBus(kept=SqliteBuckets(tmp_path / "kept.db"))
    await (await bus.bucket("beating", ttl=10)).put("k", b"v")
    await bus.close()

    again = MemoryBus(kept=SqliteBuckets(tmp_path / "kept.db"))
    assert await (await again.bucket("beating", ttl=10)).get("k") is None
    await again.close()
