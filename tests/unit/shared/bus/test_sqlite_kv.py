"""Buckets kept in a file: what is asked for at once, what a damaged file does."""

import asyncio
import threading
from pathlib import Path

from shared.bus.sqlite_kv import SqliteBuckets


def writers() -> int:
    return sum(thread.name == "kept" for thread in threading.enumerate())


async def test_buckets_asked_for_at_once_share_one_writer(tmp_path: Path) -> None:
    """Each finds what it kept, and closing ends the only thread."""
    first = SqliteBuckets(tmp_path / "kept.db")
    for name in ("a", "b", "c"):
        await (await first.bucket(name)).put("key", name.encode())
    await first.close()
    before, found = writers(), {}
    again = SqliteBuckets(tmp_path / "kept.db")

    async def look(name: str) -> None:
        entry = await (await again.bucket(name)).get("key")
        found[name] = entry.value if entry else None

    async with asyncio.timeout(10):
        async with asyncio.TaskGroup() as tasks:
            for name in ("a", "b", "c"):
                tasks.create_task(look(name))
        assert writers() == before + 1
        await again.close()

    assert found == {"a": b"a", "b": b"b", "c": b"c"}
    assert writers() == before


async def test_damaged_file_is_moved_aside(tmp_path: Path) -> None:
    """The buckets begin anew, and the old file is still there for who wants to look."""
    (tmp_path / "kept.db").write_bytes(b"no database" * 1000)
    buckets = SqliteBuckets(tmp_path / "kept.db")

    bucket = await buckets.bucket("a")
    await bucket.put("key", b"value")
    await buckets.close()

    assert (tmp_path / "kept.damaged").exists()
    assert [entry.value for entry in await bucket.entries()] == [b"value"]
