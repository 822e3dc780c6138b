"""Buckets that survive a restart of the all-in-one: memory in front, one sqlite file behind, group commits on a thread."""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

from shared.bus.memory_kv import MemoryKeyValue
from shared.bus.ports import Entry, KeyValue

_SCHEMA = "CREATE TABLE IF NOT EXISTS entries (bucket TEXT, key TEXT, value BLOB, revision INTEGER, PRIMARY KEY (bucket, key))"
_PUT = "INSERT OR REPLACE INTO entries VALUES (?, ?, ?, ?)"
_DELETE = "DELETE FROM entries WHERE bucket = ? AND key = ?"

Job = tuple[str, tuple[object, ...], "asyncio.Future[None]"]


class SqliteBuckets:
    """The file. A damaged one is moved aside (`.damaged`) and begun anew: what it holds is history, never the only truth."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loaded: dict[str, list[Entry]] | None = None
        self._opening = asyncio.Lock()

    async def bucket(self, name: str) -> KeyValue:
        """The bucket with what earlier processes left in it."""
        async with self._opening:  # services ask at the same time, but one thread writes
            if self._loaded is None:
                self._loaded = await asyncio.to_thread(self._open)
        memory = MemoryKeyValue()
        for entry in self._loaded.pop(name, []):
            memory.restore(entry)
        return _KeptKeyValue(name, memory, self)

    def _open(self) -> dict[str, list[Entry]]:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            found = self._load()
        except sqlite3.DatabaseError:
            self._path.replace(self._path.with_suffix(".damaged"))
            found = self._load()
        self._thread = threading.Thread(target=self._write_all, name="kept", daemon=True)
        self._thread.start()
        return found

    def _load(self) -> dict[str, list[Entry]]:
        found: dict[str, list[Entry]] = {}
        database = sqlite3.connect(self._path)
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute(_SCHEMA)
            for bucket, key, value, revision in database.execute("SELECT bucket, key, value, revision FROM entries ORDER BY revision"):
                found.setdefault(bucket, []).append(Entry(key=key, value=value, revision=revision))
        finally:
            database.close()
        return found

    async def write(self, sql: str, values: tuple[object, ...]) -> None:
        """Returns when it is committed."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._jobs.put((sql, values, done))
        await done

    def _write_all(self) -> None:
        database = sqlite3.connect(self._path, isolation_level=None)
        database.execute("PRAGMA synchronous = NORMAL")
        while (job := self._jobs.get()) is not None:
            jobs = [job]
            while not self._jobs.empty() and len(jobs) < 1000:
                following = self._jobs.get()
                if following is None:
                    self._jobs.put(None)
                    break
                jobs.append(following)
            _commit(database, jobs)
        database.close()

    async def close(self) -> None:
        """Write what is waiting, and end the thread."""
        if self._thread is not None:
            self._jobs.put(None)
            await asyncio.to_thread(self._thread.join)


def _commit(database: sqlite3.Connection, jobs: list[Job]) -> None:
    error: Exception | None = None
    try:
        database.execute("BEGIN")
        for sql, values, _ in jobs:
            database.execute(sql, values)
        database.execute("COMMIT")
    except sqlite3.Error as failure:
        error = failure
        if database.in_transaction:
            database.execute("ROLLBACK")
    for _, _, done in jobs:
        done.get_loop().call_soon_threadsafe(_settle, done, error)


def _settle(done: "asyncio.Future[None]", error: Exception | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)


class _KeptKeyValue:
    """A memory bucket whose writes return when they are durable."""

    def __init__(self, name: str, memory: MemoryKeyValue, file: SqliteBuckets) -> None:
        self._name, self._memory, self._file = name, memory, file

    async def _keep(self, key: str, value: bytes, revision: int) -> int:
        await self._file.write(_PUT, (self._name, key, value, revision))
        return revision

    async def get(self, key: str) -> Entry | None:
        return await self._memory.get(key)

    async def put(self, key: str, value: bytes) -> int:
        return await self._keep(key, value, await self._memory.put(key, value))

    async def create(self, key: str, value: bytes) -> int | None:
        revision = await self._memory.create(key, value)
        return revision if revision is None else await self._keep(key, value, revision)

    async def update(self, key: str, value: bytes, *, revision: int) -> int | None:
        written = await self._memory.update(key, value, revision=revision)
        return written if written is None else await self._keep(key, value, written)

    async def delete(self, key: str, *, revision: int | None = None) -> None:
        if revision is not None and ((present := await self._memory.get(key)) is None or present.revision != revision):
            return
        await self._memory.delete(key)
        await self._file.write(_DELETE, (self._name, key))

    def disown(self, key: str) -> None:
        self._memory.disown(key)

    async def entries(self, prefix: str = "") -> list[Entry]:
        return await self._memory.entries(prefix)

    def watch(self, prefix: str = "") -> AbstractAsyncContextManager[AsyncIterator[tuple[str, Entry | None]]]:
        return self._memory.watch(prefix)
