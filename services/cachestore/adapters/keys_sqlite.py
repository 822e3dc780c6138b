"""Rows in one sqlite file: all-in-one. One thread does all of it; a damaged file is moved aside and begun anew."""

import asyncio
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from services.cachestore.adapters.rows import decode_row, encode_row, row_key
from services.cachestore.core.key_graph import Row
from shared.errors import Unavailable


class SqliteKeyStore:
    """See services.cachestore.ports.KeyStore. WAL without fsync per commit: a power cut may cost the last rows, kill -9 none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cache-index")
        self._database: sqlite3.Connection | None = None

    async def load(self) -> list[Row]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._load)

    def _load(self) -> list[Row]:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            return self._open()
        except sqlite3.DatabaseError:
            self._close()
            self._path.replace(self._path.with_suffix(".damaged"))
            for leftover in ("-wal", "-shm"):
                self._path.with_name(self._path.name + leftover).unlink(missing_ok=True)
            return self._open()

    def _open(self) -> list[Row]:
        self._database = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = NORMAL")
        self._database.execute("CREATE TABLE IF NOT EXISTS rows (key TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
        found = self._database.execute("SELECT value FROM rows")
        return [row for row in (decode_row(value) for (value,) in found) if row is not None]

    async def write(self, added: Sequence[Row], removed: Sequence[Row]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._write, list(added), list(removed))

    def _write(self, added: list[Row], removed: list[Row]) -> None:
        assert self._database is not None, "load comes first"
        try:
            self._database.execute("BEGIN")
            self._database.executemany("DELETE FROM rows WHERE key = ?", ((row_key(row),) for row in removed))
            self._database.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?)", ((row_key(row), encode_row(row)) for row in added))
            self._database.execute("COMMIT")
        except sqlite3.Error as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise Unavailable(f"cache index {self._path}: {error}") from error

    async def intact(self) -> bool:
        return True

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=False)

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
