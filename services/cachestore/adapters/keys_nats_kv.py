"""Rows in a key-value bucket of the bus: the fleet.

Rows that are written together stand in one entry: what an entry costs the bus is hardly its size.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Iterable, Iterator, Sequence

from services.cachestore.adapters.rows import decode_rows, encode_row, join_rows, row_key
from services.cachestore.core.key_graph import Row
from shared.bus.ports import Buckets, KeyValue

AT_ONCE = 64  # writes under way
MARK = "mark"  # a key that is no row; when it is gone so are the rows
ENTRY_BYTES = 48 << 10
ENTRY_ROWS = 128


class KvKeyStore:
    """See services.cachestore.ports.KeyStore."""

    def __init__(self, buckets: Buckets, name: str) -> None:
        self._buckets, self._name = buckets, name
        self._bucket: KeyValue | None = None
        self._entry_of: dict[str, str] = {}  # row → the entry that it stands in
        self.was_empty = False  # when it was loaded: new, or lost with the bus's folder

    async def load(self) -> list[Row]:
        self._bucket = await self._buckets.bucket(self._name)
        self.was_empty = await self._bucket.create(MARK, b"") is not None
        rows: dict[str, Row] = {}
        for entry in await self._bucket.entries():
            for row in decode_rows(entry.value):
                key = row_key(row)
                rows[key], self._entry_of[key] = row, entry.key
        return list(rows.values())

    async def write(self, added: Sequence[Row], removed: Sequence[Row]) -> None:
        entries = list(_entries(added))
        moved = [(key, name) for name, rows in entries for key in rows if self._entry_of.get(key, name) != name]
        gone = {row_key(row) for row in removed} | {key for key, _ in moved}
        places: dict[str, set[str]] = {}
        for key in gone:
            places.setdefault(self._entry_of.pop(key, key), set()).add(key)
        await _at_once(self._take_out(entry, keys) for entry, keys in places.items())
        await _at_once(self._put(name, rows) for name, rows in entries)

    async def _take_out(self, entry: str, keys: set[str]) -> None:
        found = await self._open().get(entry)
        if found is None:
            return
        left = [encode_row(row) for row in decode_rows(found.value) if row_key(row) not in keys]
        if left:
            await self._open().put(entry, join_rows(left))
        else:
            await self._open().delete(entry)

    async def _put(self, name: str, rows: dict[str, bytes]) -> None:
        await self._open().put(name, join_rows(list(rows.values())))
        self._entry_of |= dict.fromkeys(rows, name)

    def _open(self) -> KeyValue:
        assert self._bucket is not None, "load comes first"
        return self._bucket

    async def intact(self) -> bool:
        if await self._open().get(MARK) is not None:
            return True
        await self._open().put(MARK, b"")
        return False

    async def close(self) -> None:
        return None


def _entries(rows: Iterable[Row]) -> Iterator[tuple[str, dict[str, bytes]]]:
    """(name, rows by key); the same rows have the same name, so that writing them again changes nothing."""
    group: dict[str, bytes] = {}
    size = 0
    for row in rows:
        data = encode_row(row)
        if group and (size + len(data) > ENTRY_BYTES or len(group) >= ENTRY_ROWS):
            yield _name(group), group
            group, size = {}, 0
        group[row_key(row)] = data
        size += len(data)
    if group:
        yield _name(group), group


def _name(rows: Iterable[str]) -> str:
    return hashlib.sha256("".join(rows).encode()).hexdigest()[:40]


async def _at_once(writes: Iterable[Awaitable[object]]) -> None:
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(write: Awaitable[object]) -> None:
        async with limit:
            await write

    async with asyncio.TaskGroup() as tasks:
        for write in writes:
            tasks.create_task(one(write))
