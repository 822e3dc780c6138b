"""The key store contract: memory, sqlite, and a bucket of either bus."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from services.cachestore.adapters.keys_memory import MemoryKeyStore
from services.cachestore.adapters.keys_mirrored import MirroredKeyStore
from services.cachestore.adapters.keys_nats_kv import KvKeyStore
from services.cachestore.adapters.keys_sqlite import SqliteKeyStore
from services.cachestore.core.key_graph import Link, LinkRow, ResultRow, Row
from services.cachestore.ports import KeyStore
from shared.bus.memory import MemoryBus
from shared.bus.nats import NatsBus
from shared.model import Digest, Layer, Ref

LAYER = Layer(digest=Digest("sha256:" + "a" * 64), diff_id=Digest("sha256:" + "b" * 64), size=5, media_type="m", created_at=7)
ROWS: list[Row] = [
    LinkRow("a", Link(0, 1, "sha256:x", "sel"), "b"),
    LinkRow("a", Link(0, 1, "sha256:x", ""), "b"),
    LinkRow("a", Link(1, 1, "sha256:x", ""), "b"),
    ResultRow("b", "r1", 5, Ref(id="r1", home="e", layers=(LAYER,), size=3)),
    ResultRow("b", "scratch", 6, None),
    ResultRow("c", "r1", 7, Ref(id="r1", home="e", layers=(LAYER,), size=3)),
]

Open = Callable[[], Awaitable[KeyStore]]


@pytest.fixture(params=["memory", "sqlite", "memory bus", "nats", "mirrored"])
async def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    """Opens the same store again and again."""
    name = f"keys-{os.urandom(6).hex()}"
    memory = MemoryKeyStore()
    bus = await NatsBus.connect(request.getfixturevalue("nats").url) if request.param == "nats" else MemoryBus()

    async def open_one() -> KeyStore:
        match request.param:
            case "memory":
                return memory
            case "sqlite":
                return SqliteKeyStore(tmp_path / "deep" / "keys.db")
            case "mirrored":
                return MirroredKeyStore(SqliteKeyStore(tmp_path / "m.db"), KvKeyStore(bus, name))
        return KvKeyStore(bus, name)

    yield open_one
    await bus.close()


async def test_a_new_store_is_empty(reopen: Open) -> None:
    store = await reopen()

    assert await store.load() == []
    await store.close()


async def test_rows_survive(reopen: Open) -> None:
    first = await reopen()
    await first.load()
    await first.write(ROWS, [])
    await first.close()

    again = await reopen()
    assert sorted(await again.load(), key=str) == sorted(ROWS, key=str)
    await again.close()


async def test_removing_and_adding_are_idempotent(reopen: Open) -> None:
    store = await reopen()
    await store.load()
    await store.write(ROWS, [])
    await store.write(ROWS[:2], [])
    await store.write([], ROWS[2:])
    await store.write([], ROWS[2:])
    await store.close()

    again = await reopen()
    assert sorted(await again.load(), key=str) == sorted(ROWS[:2], key=str)
    await again.close()


async def test_a_result_is_replaced_by_its_newer_self(reopen: Open) -> None:
    store = await reopen()
    await store.load()
    old, new = ResultRow("k", "r", 1, Ref(id="r", home="e1")), ResultRow("k", "r", 1, Ref(id="r", home="e2"))
    await store.write([old], [])
    await store.write([new], [old])
    await store.close()

    again = await reopen()
    assert await again.load() == [new]
    await again.close()


async def test_many_rows(reopen: Open) -> None:
    rows: list[Row] = [LinkRow(f"s{i}", Link(0, 0, "d", ""), f"t{i}") for i in range(300)]
    store = await reopen()
    await store.load()
    await store.write(rows, [])
    await store.close()

    again = await reopen()
    assert len(await again.load()) == 300
    await again.close()


@pytest.mark.parametrize("damage", [b"", b"\xc1", b"\x93\xa4link\xa1a\x01", b"\x95\xa6result\xa1k\xa1r\x05\x01"])
async def test_a_damaged_row_is_a_miss(damage: bytes) -> None:
    store = MemoryKeyStore()
    await store.write(ROWS, [])
    store.damage(damage)

    assert await store.load() == []


async def test_a_damaged_file_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "keys.db"
    store = SqliteKeyStore(path)
    await store.load()
    await store.write(ROWS, [])
    await store.close()
    damage_file(path)

    again = SqliteKeyStore(path)
    assert await again.load() == []
    await again.write(ROWS, [])
    await again.close()
    third = SqliteKeyStore(path)
    assert len(await third.load()) == len(ROWS)
    await third.close()


async def test_a_bucket_that_was_emptied_is_noticed_once() -> None:
    bus = MemoryBus()
    store = KvKeyStore(bus, "keys")
    await store.load()
    await store.write(ROWS, [])
    assert await store.intact()

    bucket = await bus.bucket("keys")
    for entry in await bucket.entries():
        await bucket.delete(entry.key)

    assert [await store.intact(), await store.intact()] == [False, True]


async def test_a_bucket_that_was_lost_is_filled_from_the_file(tmp_path: Path) -> None:
    bus = MemoryBus()
    mirrored = MirroredKeyStore(SqliteKeyStore(tmp_path / "m.db"), KvKeyStore(bus, "keys"))
    await mirrored.load()
    await mirrored.write(ROWS, [])
    await mirrored.close()

    again = MirroredKeyStore(SqliteKeyStore(tmp_path / "m.db"), KvKeyStore(bus, "another"))
    assert len(await again.load()) == len(ROWS)
    assert len(await KvKeyStore(bus, "another").load()) == len(ROWS)
    await again.close()


async def test_what_another_process_has_removed_does_not_come_back(tmp_path: Path) -> None:
    """The bucket is right while it is whole: the file of a process that led before is old."""
    bus = MemoryBus()
    mirrored = MirroredKeyStore(SqliteKeyStore(tmp_path / "m.db"), KvKeyStore(bus, "keys"))
    await mirrored.load()
    await mirrored.write(ROWS, [])
    await mirrored.close()
    other = KvKeyStore(bus, "keys")
    await other.load()
    await other.write([], ROWS[:1])

    for _ in range(2):
        again = MirroredKeyStore(SqliteKeyStore(tmp_path / "m.db"), KvKeyStore(bus, "keys"))
        assert len(await again.load()) == len(ROWS) - 1
        await again.close()


def damage_file(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)
