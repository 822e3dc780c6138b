"""The snapshot store's memory: records, keys and notes in one sqlite file.

Written through on each change (WAL: a killed process loses nothing; a power cut may lose the last moments, whose
directories are then swept at the next start).
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field

from services.executor.core.snapshots import RecordType, SnapshotKind

__all__ = ["Record", "Records"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS snapshots (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, parents TEXT NOT NULL, mutable INTEGER NOT NULL, record_type TEXT NOT NULL,
    description TEXT NOT NULL, size INTEGER NOT NULL, created REAL NOT NULL, last_used REAL, usage_count INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS keys (key TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (key, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS notes (id TEXT NOT NULL, name TEXT NOT NULL, value BLOB NOT NULL, PRIMARY KEY (id, name)) WITHOUT ROWID;
"""


@dataclass(slots=True, kw_only=True)
class Record:
    """One row, with its keys; mutable because it is the live state."""

    id: str
    kind: SnapshotKind
    parents: tuple[str, ...]
    mutable: bool
    record_type: RecordType
    description: str
    created: float
    size: int = -1
    last_used: float | None = None
    usage_count: int = 0
    keys: list[str] = field(default_factory=list)


class Records:
    """All rows. Not thread-safe: the store calls it under its lock."""

    def __init__(self, path: str) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)

    def load(self) -> list[Record]:
        """Every record; rows that this version can't read are dropped (their directories are swept)."""
        keys: dict[str, list[str]] = {}
        for key, id in self._db.execute("SELECT key, id FROM keys ORDER BY key"):
            keys.setdefault(id, []).append(key)
        found = []
        for row in self._db.execute("SELECT * FROM snapshots ORDER BY created, id").fetchall():
            try:
                found.append(_record(row, keys.get(row[0], [])))
            except ValueError:
                self.delete([row[0]])
        return found

    def save(self, record: Record) -> None:
        """Insert or replace a record and its keys, in one transaction."""
        row = (
            record.id, record.kind.value, json.dumps(record.parents), record.mutable, record.record_type.value,
            record.description, record.size, record.created, record.last_used, record.usage_count,
        )  # fmt: skip
        self._db.execute("BEGIN")
        self._db.execute("INSERT OR REPLACE INTO snapshots VALUES (?,?,?,?,?,?,?,?,?,?)", row)
        self._db.execute("DELETE FROM keys WHERE id = ?", (record.id,))
        self._db.executemany("INSERT INTO keys VALUES (?,?)", [(key, record.id) for key in record.keys])
        self._db.execute("COMMIT")

    def touch(self, records: Iterable[Record]) -> None:
        """Write the use counters and sizes of many records at once."""
        rows = [(r.last_used, r.usage_count, r.size, r.id) for r in records]
        if rows:
            self._db.execute("BEGIN")
            self._db.executemany("UPDATE snapshots SET last_used=?, usage_count=?, size=? WHERE id=?", rows)
            self._db.execute("COMMIT")

    def delete(self, ids: Iterable[str]) -> None:
        """Forget records with keys and notes; unknown ids are fine."""
        rows = [(id,) for id in ids]
        self._db.execute("BEGIN")
        for table in ("snapshots", "keys", "notes"):
            self._db.executemany(f"DELETE FROM {table} WHERE id = ?", rows)
        self._db.execute("COMMIT")

    def note(self, id: str, name: str) -> bytes | None:
        row = self._db.execute("SELECT value FROM notes WHERE id = ? AND name = ?", (id, name)).fetchone()
        return None if row is None else bytes(row[0])

    def set_note(self, id: str, name: str, value: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO notes VALUES (?,?,?)", (id, name, value))

    def notes(self) -> list[tuple[str, str, bytes]]:
        """All notes: (snapshot, name, value)."""
        return [(row[0], row[1], bytes(row[2])) for row in self._db.execute("SELECT id, name, value FROM notes")]

    def close(self) -> None:
        self._db.close()


def _record(row: tuple[str, str, str, int, str, str, int, float, float | None, int], keys: list[str]) -> Record:
    return Record(
        id=row[0], kind=SnapshotKind(row[1]), parents=tuple(json.loads(row[2])), mutable=bool(row[3]), record_type=RecordType(row[4]),
        description=row[5], size=row[6], created=row[7], last_used=row[8], usage_count=row[9], keys=keys,
    )  # fmt: skip
