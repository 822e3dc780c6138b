"""What the snapshot store remembers over a restart."""

import sqlite3
from dataclasses import replace
from pathlib import Path

from services.executor.adapters.snapshot_records import Record, Records
from services.executor.core.snapshots import RecordType, SnapshotKind

ONE = Record(
    id="one", kind=SnapshotKind.MERGE, parents=("a", "b"), mutable=True, record_type=RecordType.CACHE_MOUNT, description="d ü",
    created=2.5, size=7, last_used=3.5, usage_count=4, keys=["k1", "k2"],
)  # fmt: skip
TWO = Record(
    id="two", kind=SnapshotKind.LAYER, parents=(), mutable=False, record_type=RecordType.REGULAR, description="", created=1.5, keys=["k1"]
)


def reopened(path: Path) -> Records:
    return Records(str(path / "r.db"))


def test_records_come_back_as_they_were_oldest_first(tmp_path: Path) -> None:
    records = reopened(tmp_path)
    records.save(ONE)
    records.save(TWO)
    records.close()

    assert reopened(tmp_path).load() == [TWO, ONE]


def test_saving_again_replaces_keys_too(tmp_path: Path) -> None:
    records = reopened(tmp_path)
    records.save(ONE)
    records.save(changed := replace(ONE, mutable=False, keys=["k3"]))

    assert records.load() == [changed]


def test_touching_writes_the_counters_only(tmp_path: Path) -> None:
    records = reopened(tmp_path)
    records.save(ONE)
    records.touch([replace(ONE, last_used=9.0, usage_count=5, size=1, description="other"), TWO])
    records.touch([])

    assert records.load() == [replace(ONE, last_used=9.0, usage_count=5, size=1)]


def test_notes_go_with_their_record(tmp_path: Path) -> None:
    records = reopened(tmp_path)
    records.save(ONE)
    records.set_note("one", "layer", b"1")
    records.set_note("one", "layer", b"2")
    assert (records.note("one", "layer"), records.note("one", "x"), records.notes()) == (b"2", None, [("one", "layer", b"2")])

    records.delete(["one", "unknown"])
    assert (records.load(), records.notes()) == ([], [])


def test_rows_of_another_version_are_dropped(tmp_path: Path) -> None:
    """A kind or a type that this version doesn't know: its directory is swept, the others stay."""
    records = reopened(tmp_path)
    for record in (ONE, TWO, replace(TWO, id="three")):
        records.save(record)
    records.set_note("one", "n", b"x")
    records.close()
    with sqlite3.connect(tmp_path / "r.db") as db:
        db.execute("UPDATE snapshots SET kind = 'braid' WHERE id = 'one'")
        db.execute("UPDATE snapshots SET parents = '{' WHERE id = 'three'")
    records = reopened(tmp_path)

    assert records.load() == [TWO]
    assert (records.load(), records.notes()) == ([TWO], [])
