"""Rows in a key-value bucket of the bus: the fleet."""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence

from services.cachestore.adapters.rows import decode_row, encode_row, row_key
from services.cachestore.core.key_graph import Row
from shared.bus.ports import Buckets, KeyValue

AT_ONCE = 64  # writes under way
MARK = "mark"  # a key that is no row; when it is gone so are the rows


class KvKeyStore:
    """See services.cachestore.ports.KeyStore."""

    def __init__(self, buckets: Buckets, name: str) -> None:
        self._buckets, self._name = buckets, name
        self._bucket: KeyValue | None = None
        self.was_empty = False  # when it was loaded: new, or lost with the bus's folder

    async def load(self) -> list[Row]:
        self._bucket = await self._buckets.bucket(self._name)
        self.was_empty = await self._bucket.create(MARK, b"") is not None
        entries = await self._bucket.entries()
        return [row for row in (decode_row(entry.value) for entry in entries) if row is not None]

    async def write(self, added: Sequence[Row], removed: Sequence[Row]) -> None:
        assert self._bucket is not None, "load comes first"
        bucket = self._bucket
        await _at_once(bucket.delete(row_key(row)) for row in removed)
        await _at_once(bucket.put(row_key(row), encode_row(row)) for row in added)

    async def intact(self) -> bool:
        assert self._bucket is not None, "load comes first"
        if await self._bucket.get(MARK) is not None:
            return True
        await self._bucket.put(MARK, b"")
        return False

    async def close(self) -> None:
        return None


async def _at_once(writes: Iterable[Awaitable[object]]) -> None:
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(write: Awaitable[object]) -> None:
        async with limit:
            await write

    async with asyncio.TaskGroup() as tasks:
        for write in writes:
            tasks.create_task(one(write))
