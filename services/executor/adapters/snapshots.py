"""The snapshot tree on disk: directories, their records in sqlite, leases in memory.

`<root>/snapshots/<id>/fs` holds a snapshot's own layer, `<root>/mounts/<n>` its mounts while there are any. Everything is safe
to call from several threads; one lock guards the records, file work happens outside of it.
"""

from __future__ import annotations

import base64
import logging
import os
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from services.executor.adapters import overlayfs
from services.executor.adapters.snapshot_layouts import Layout, NativeLayout, OverlayLayout, disk_usage
from services.executor.adapters.snapshot_mounts import Mounts
from services.executor.adapters.snapshot_places import Places, folder_of
from services.executor.adapters.snapshot_records import Record, Records
from services.executor.adapters.snapshot_stacks import Stacks
from services.executor.core.leases import LeaseTable
from services.executor.core.snapshots import Layer, LayerStyle, RecordType, Snapshot, SnapshotKind
from shared.errors import InvalidInput, RefLost

__all__ = ["DiskSnapshots", "open_snapshots"]

_log = logging.getLogger(__name__)


def _random_id() -> str:
    return base64.b32encode(secrets.token_bytes(16)).decode().lower()[:25]


def open_snapshots(root: Path, *, style: str = "auto", clock: Callable[[], float] = time.time) -> DiskSnapshots:
    """Open (or make) the store below `root`; `style` is auto, overlayfs or native. Cleans up after a killed process."""
    root.mkdir(mode=0o711, parents=True, exist_ok=True)
    root = root.resolve()
    left = overlayfs.clear_leftover_mounts(str(root))
    if left:
        _log.info("unmounted %d leftovers below %s", left, root)
    match style:
        case "native":
            overlay = False
        case "overlayfs" | "overlay":
            overlay = True
        case "auto":
            overlay = overlayfs.overlay_works(str(root))
        case _:
            raise InvalidInput(f"unknown snapshotter {style!r}: auto, overlayfs and native are known")
    return DiskSnapshots(root, OverlayLayout() if overlay else NativeLayout(), clock=clock)


class DiskSnapshots:
    """See `ports.SnapshotStore` for what each method promises."""

    def __init__(
        self, root: Path, layout: Layout, *, clock: Callable[[], float] = time.time, new_id: Callable[[], str] = _random_id
    ) -> None:
        self._root = root
        self._layout = layout
        self._clock = clock
        self._new_id = new_id
        self._lock = threading.RLock()
        self._leases = LeaseTable()
        self._claimed: set[str] = set()
        self._touched: set[str] = set()
        for name in ("snapshots", "trash", "empty"):
            (root / name).mkdir(mode=0o711, exist_ok=True)
        self._mounts = Mounts(root / "mounts")
        self._records = Records(str(root / f"snapshots-{layout.style.value}.db"))
        self._rows: dict[str, Record] = {}
        self._stacks = Stacks(self._dir, self.note, self.set_note)
        self._places = Places(root, layout.style, self._stacks, self._row)
        self._children: dict[str, set[str]] = {}
        self._by_key: dict[str, list[str]] = {}
        self._recover()

    @property
    def style(self) -> LayerStyle:
        """How layers lie on this disk."""
        return self._layout.style

    # --- the tree -------------------------------------------------------------------------------------------------------

    def prepare(
        self, parent: str | None, *, record_type: RecordType = RecordType.REGULAR, description: str = "", lease: str = ""
    ) -> Snapshot:
        row = self._new_row(SnapshotKind.LAYER, (parent,) if parent else (), True, record_type, description)
        with self._lock:
            lowers = self._places.lowers(parent)
            self._add(row, save=False)
            self._claimed.add(row.id)
            if lease:
                self._leases.hold(lease, [row.id], self._clock())
        try:
            self._layout.make(self._dir(row.id), lowers)
        except BaseException:
            with self._lock:
                self._forget(row.id)
            self._sweep(row.id)
            raise
        return self._view(row)

    def rebase(self, id: str, parent: str) -> None:
        with self._lock:
            row = self._row(id)
            if not row.mutable or row.parents or self.style is not LayerStyle.OVERLAY:
                raise ValueError(f"snapshot {id} can't be laid on another")
            row.parents = (self._row(parent).id,)
            self._children.setdefault(parent, set()).add(id)
        os.mkdir(os.path.join(self._dir(id), "work"), 0o700)

    def commit(self, id: str, *, key: str = "", record_type: RecordType | None = None, description: str = "") -> Snapshot:
        with self._lock:
            row = self._row(id)
            twin = next((r for r in self._keyed(key) if not r.mutable and r.id != id), None) if key else None
            if twin is not None:
                self._leases.replace(id, twin.id)
                self._forget(id)
            else:
                self._seal(row, key, record_type, description)
        if twin is None:
            return self._view(row)
        self._sweep(id)
        return self._view(twin)

    def _seal(self, row: Record, key: str, record_type: RecordType | None, description: str) -> None:
        row.mutable = False
        row.record_type = record_type or row.record_type
        row.description = description or row.description
        row.last_used, row.size = self._clock(), -1
        row.usage_count += 1
        if key:
            self._bind(row, key)
        self._claimed.discard(row.id)
        self._records.save(row)

    def freeze(self, id: str, *, lease: str) -> Snapshot:
        with self._lock:
            below = self._row(id)
            if not below.mutable:
                raise ValueError(f"snapshot {id} is not mutable")
            row = self._new_row(SnapshotKind.FROZEN, (id,), False, below.record_type, below.description)
            below.size = -1
            below.last_used = self._clock()
            below.usage_count += 1
            self._add(row)
            self._records.save(below)
            self._leases.hold(lease, [row.id], self._clock())
            self._claimed.discard(id)
            return self._view(row)

    @contextmanager
    def mount(self, id: str, *, writable: bool = False) -> Iterator[str]:
        with self._lock:
            row = self._row(id)
            if writable and not row.mutable:
                raise ValueError(f"snapshot {id} is not mutable")
            plan = self._places.plan(row, writable)
        with self._mounts.use((id, writable), plan) as path:
            yield path

    def layers(self, id: str) -> tuple[Layer, ...]:
        with self._lock:
            self._row(id)
            return self._places.layers(id)

    def own_layer(self, id: str) -> Layer:
        with self._lock:
            return self._places.layer(id)

    def remove(self, ids: Iterable[str]) -> tuple[Snapshot, ...]:
        wanted = list(dict.fromkeys(ids))
        sizes = self.sizes(wanted)
        gone: list[Snapshot] = []
        with self._lock:
            while (free := next((id for id in wanted if self._removable(id)), None)) is not None:
                wanted.remove(free)
                gone.append(self._view(self._rows[free], size=sizes.get(free, -1)))
                self._forget(free)
        for snapshot in gone:
            self._sweep(snapshot.id)
        return tuple(gone)

    # --- composed snapshots -----------------------------------------------------------------------------------------------

    def merge(self, ids: Sequence[str], *, description: str = "", lease: str = "") -> Snapshot:
        with self._lock:
            rows = [self._row(id) for id in ids]
            if len(rows) == 1:
                self._hold_maybe(lease, rows[0].id)
                return self._view(rows[0])
            row = self._new_row(SnapshotKind.MERGE, tuple(r.id for r in rows), False, RecordType.REGULAR, description)
            self._add(row, save=False)
            self._hold_maybe(lease, row.id)
            layers = self.layers(row.id)
            moved = layers[len(self.layers(rows[0].id)) :]
        return self._compose(row, lambda: self._stack(row.id, layers, moved))

    def diff(self, lower: str | None, upper: str, *, description: str = "", lease: str = "") -> Snapshot:
        with self._lock:
            top = self._row(upper)
            if lower is None:
                self._hold_maybe(lease, upper)
                return self._view(top)
            chain, base = self._places.chain(upper), self._places.chain(self._row(lower).id)
            sliced = chain[: len(base)] == base
            kind = SnapshotKind.SLICE if sliced else SnapshotKind.DIFF
            row = self._new_row(kind, (lower, upper), False, RecordType.REGULAR, description)
            self._add(row, save=False)
            self._hold_maybe(lease, row.id)
        if sliced:
            layers = self.layers(row.id)
            return self._compose(row, lambda: self._stack(row.id, layers, layers))
        return self._compose(row, lambda: self._write_diff(row.id, lower, upper))

    def _write_diff(self, id: str, lower: str, upper: str) -> None:
        with self.mount(lower) as low, self.mount(upper) as up:
            self._layout.diff(self._dir(id), low, up)
        if self._layout.style is LayerStyle.OVERLAY:
            self._stacks.compose_own(id)

    def _stack(self, id: str, layers: tuple[Layer, ...], moved: tuple[Layer, ...]) -> None:
        """Make what a stack of layers needs; those that `moved` do not lie where they were made."""
        self._layout.merge(self._dir(id), layers)
        if self._layout.style is LayerStyle.OVERLAY:
            self._stacks.compose(id, moved)

    def _compose(self, row: Record, make: Callable[[], None]) -> Snapshot:
        try:
            make()
        except BaseException:
            with self._lock:
                self._forget(row.id)
            self._sweep(row.id)
            raise
        with self._lock:
            self._records.save(row)
            return self._view(row)

    # --- keys and notes ---------------------------------------------------------------------------------------------------

    def get(self, id: str) -> Snapshot:
        with self._lock:
            return self._view(self._row(id))

    def all(self) -> tuple[Snapshot, ...]:
        """Every record, oldest first, with `in_use` as reference 06 §5.1 defines it."""
        with self._lock:
            busy = self._busy()
            return tuple(self._view(row, in_use=row.id in busy) for row in self._rows.values())

    def find(self, key: str) -> Snapshot | None:
        with self._lock:
            row = next((row for row in self._keyed(key) if not row.mutable), None)
            return None if row is None else self._view(self._used(row))

    def claim(self, key: str, *, lease: str = "") -> Snapshot | None:
        with self._lock:
            row = next((row for row in self._keyed(key) if row.mutable and self._thaw(row.id)), None)
            if row is None:
                return None
            self._claimed.add(row.id)
            self._hold_maybe(lease, row.id)
            return self._view(self._used(row))

    def _thaw(self, id: str) -> bool:
        """Make the mutable `id` claimable by dropping frozen views that nobody needs; False if someone does."""
        views = self._children.get(id, set())
        if id in self._claimed or self._mounts.count(id) or not all(self._removable(view) for view in views):
            return False
        for view in tuple(views):
            self._forget(view)
        return True

    def carrying(self, key: str) -> tuple[str, ...]:
        with self._lock:
            return tuple(row.id for row in self._keyed(key) if row.mutable)

    def unbind(self, key: str) -> None:
        with self._lock:
            names = [name for name, ids in self._by_key.items() if ids and (name == key or name.startswith(key + ":"))]
            rows = {row.id: row for name in names for row in self._keyed(name) if row.mutable}
            for row in rows.values():
                self._unkey(row, [name for name in row.keys if name in names])
        self.remove([row.id for row in rows.values() if not row.keys])

    def drop(self, id: str) -> None:
        with self._lock:
            row = self._row(id)
            self._unkey(row, list(row.keys))

    def _unkey(self, row: Record, names: Sequence[str]) -> None:
        for name in names:
            row.keys.remove(name)
            self._by_key[name].remove(row.id)
        self._records.save(row)

    def put(self, id: str, key: str) -> None:
        with self._lock:
            row = self._row(id)
            self._bind(row, key)
            self._records.save(row)

    def unclaim(self, id: str) -> None:
        with self._lock:
            row = self._rows.get(id)
            self._claimed.discard(id)
            if row is None or row.keys or not row.mutable or self._children.get(id):
                if row is not None:
                    row.size = -1
                return
            self._forget(id)
        self._sweep(id)

    def note(self, id: str, name: str) -> bytes | None:
        with self._lock:
            return self._records.note(id, name)

    def set_note(self, id: str, name: str, value: bytes) -> None:
        with self._lock:
            self._row(id)
            self._records.set_note(id, name, value)

    # --- leases -----------------------------------------------------------------------------------------------------------

    def hold(self, lease: str, ids: Collection[str]) -> None:
        with self._lock:
            rows = [self._row(id) for id in ids]
            self._leases.hold(lease, ids, self._clock())
            for row in rows:
                self._used(row)

    def renew(self, leases: Collection[str]) -> None:
        with self._lock:
            self._leases.renew(leases, self._clock())

    def release(self, lease: str) -> None:
        with self._lock:
            self._leases.release(lease)

    def sweep(self) -> tuple[str, ...]:
        """Release leases whose time is over and write the counters of use; returns those leases. Call it every few seconds."""
        with self._lock:
            late = self._leases.expired(self._clock())
            for name in late:
                self._leases.release(name)
            touched = [self._rows[id] for id in self._touched if id in self._rows]
            self._touched.clear()
            self._records.touch(touched)
        return late

    def notes(self) -> list[tuple[str, str, bytes]]:
        """All notes of all snapshots: (id, name, value)."""
        with self._lock:
            return self._records.notes()

    # --- sizes and the end ------------------------------------------------------------------------------------------------

    def sizes(self, ids: Iterable[str] | None = None) -> dict[str, int]:
        """Bytes on disk of each snapshot's own directory; walks those not known yet (so: a pool thread). Unknown ids are left out."""
        with self._lock:
            rows = [self._rows[id] for id in (self._rows if ids is None else ids) if id in self._rows]
            unknown = {row.id: row for row in rows if row.size < 0}
        for id, row in unknown.items():
            size = disk_usage(self._dir(id))
            with self._lock:
                if not (row.mutable and (id in self._claimed or self._mounts.count(id))):
                    row.size = size
                    self._touched.add(id)
        with self._lock:
            return {row.id: max(row.size, 0) for row in rows}

    def statistics(self) -> dict[str, int]:
        """Counters of everything alive."""
        with self._lock:
            return {
                "snapshots": len(self._rows),
                "claimed": len(self._claimed),
                "mounts": self._mounts.active(),
                "leases": len(self._leases.names()),
            }

    def close(self) -> None:
        """Unmount all and close the records."""
        self._mounts.close()
        self.sweep()
        with self._lock:
            self._records.close()

    # --- inside -----------------------------------------------------------------------------------------------------------

    def _recover(self) -> None:
        rows = {row.id: row for row in self._records.load()}
        broken = {row.id for row in rows.values() if not self._usable(row)}
        while more := {r.id for r in rows.values() if r.id not in broken and (broken | (set(r.parents) - set(rows))) & set(r.parents)}:
            broken |= more
        self._records.delete(broken)
        for row in rows.values():
            if row.id not in broken:
                self._index(row)
                self._stacks.load(row.id)
        for entry in os.listdir(self._root / "snapshots"):
            if entry not in self._rows:
                self._sweep(entry)
        shutil.rmtree(self._root / "trash", ignore_errors=True)
        (self._root / "trash").mkdir(mode=0o711)

    def _usable(self, row: Record) -> bool:
        if row.kind is SnapshotKind.FROZEN or (row.mutable and not row.keys):
            return False  # both belonged to a build of the process that died
        return not self._layout.has_own(row.kind) or os.path.isdir(os.path.join(self._dir(row.id), "fs"))

    def _new_row(self, kind: SnapshotKind, parents: tuple[str, ...], mutable: bool, record_type: RecordType, description: str) -> Record:
        return Record(
            id=self._new_id(), kind=kind, parents=parents, mutable=mutable, record_type=record_type,
            description=description, created=self._clock(), last_used=self._clock(), usage_count=1,
        )  # fmt: skip

    def _add(self, row: Record, *, save: bool = True) -> None:
        self._index(row)
        if save:
            self._records.save(row)

    def _index(self, row: Record) -> None:
        self._rows[row.id] = row
        for parent in row.parents:
            self._children.setdefault(parent, set()).add(row.id)
        for key in row.keys:
            self._by_key.setdefault(key, []).append(row.id)

    def _bind(self, row: Record, key: str) -> None:
        if key not in row.keys:
            row.keys.append(key)
            self._by_key.setdefault(key, []).append(row.id)

    def _forget(self, id: str) -> None:
        row = self._rows.pop(id)
        for parent in row.parents:
            self._children.get(parent, set()).discard(id)
        for key in row.keys:
            self._by_key[key].remove(id)
        self._children.pop(id, None)
        self._claimed.discard(id)
        self._stacks.forget(id)
        self._records.delete([id])

    def _sweep(self, id: str) -> None:
        """Delete a directory that no record names any more; a rename first, so that a crash half-way leaves only trash."""
        trash = str(self._root / "trash" / f"{id}-{secrets.token_hex(4)}")
        try:
            os.rename(self._dir(id), trash)
        except FileNotFoundError:
            return
        shutil.rmtree(trash, ignore_errors=True)

    def _hold_maybe(self, lease: str, id: str) -> None:
        if lease:
            self._leases.hold(lease, [id], self._clock())

    def _used(self, row: Record) -> Record:
        row.last_used = self._clock()
        row.usage_count += 1
        self._touched.add(row.id)
        return row

    def _row(self, id: str) -> Record:
        row = self._rows.get(id)
        if row is None:
            raise RefLost(id)
        return row

    def _keyed(self, key: str) -> list[Record]:
        return [self._rows[id] for id in self._by_key.get(key, ())]

    def _dir(self, id: str) -> str:
        return folder_of(self._root, id)

    def _busy(self) -> set[str]:
        busy = {id for id in self._leases.held() if id in self._rows} | (self._claimed & set(self._rows))
        busy |= {id for id in self._rows if self._mounts.count(id)}
        work = list(busy)
        while work:
            fresh = [parent for parent in self._rows[work.pop()].parents if parent not in busy]
            busy.update(fresh)
            work.extend(fresh)
        return busy

    def _removable(self, id: str) -> bool:
        row = self._rows.get(id)
        if row is None or self._leases.holds(id) or id in self._claimed or self._mounts.count(id):
            return False
        return not self._children.get(id)

    def _view(self, row: Record, *, in_use: bool | None = None, size: int | None = None) -> Snapshot:
        used = self._leases.holds(row.id) or row.id in self._claimed or bool(self._mounts.count(row.id))
        return Snapshot(
            id=row.id, kind=row.kind, parents=row.parents, mutable=row.mutable, record_type=row.record_type,
            description=row.description, size=row.size if size is None else size, created=row.created,
            last_used=row.last_used, usage_count=row.usage_count, in_use=used if in_use is None else in_use, keys=tuple(row.keys),
        )  # fmt: skip
