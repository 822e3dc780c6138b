"""Where the layers of a snapshot lie, and how they are mounted: read from the records, nothing here changes anything."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from services.executor.adapters.snapshot_mounts import MountPlan
from services.executor.adapters.snapshot_records import Record
from services.executor.adapters.snapshot_stacks import Stacks
from services.executor.core.snapshots import SKELETON, Layer, LayerStyle, SnapshotKind, chain_of, without_repeats

__all__ = ["Places", "folder_of"]


def folder_of(root: Path, id: str) -> str:
    """A snapshot's own folder; its layer is `fs` in it."""
    return f"{root}/snapshots/{id}"


class Places:
    """`row` gives a record by id and raises RefLost; call under the store's lock."""

    def __init__(self, root: Path, style: LayerStyle, stacks: Stacks, row: Callable[[str], Record]) -> None:
        self._root, self._style, self._stacks, self._row = root, style, stacks, row

    def chain(self, id: str) -> tuple[str, ...]:
        """Ids of all layers, base first."""
        return chain_of(id, lambda each: (self._row(each).kind, self._row(each).parents), self._stacks.skeletons)

    def layers(self, id: str) -> tuple[Layer, ...]:
        """All layers, base first, as they have to be read."""
        return tuple(self.layer(layer) for layer in self.chain(id) if not layer.endswith(SKELETON))

    def lowers(self, parent: str | None) -> tuple[str, ...]:
        """Directories below a snapshot on this parent, topmost first."""
        if parent is None:
            return ()
        if self._style is LayerStyle.FULL:
            return (self._full(parent),)
        return self._dirs(parent)

    def plan(self, row: Record, writable: bool) -> MountPlan:
        """How to mount a snapshot."""
        own, lowers = self._own(row.id), self._lowers_of(row)
        if self._style is LayerStyle.FULL:
            return MountPlan(direct=self._full(row.id))
        if writable:
            work = os.path.join(folder_of(self._root, row.id), "work")
            return MountPlan(lowers=lowers, upper=own, work=work) if lowers else MountPlan(direct=own)
        dirs = self._dirs(row.id)
        chain = self.chain(row.id)
        base = self._row(chain[0]) if len(dirs) == 1 and not chain[0].endswith(SKELETON) else None
        if base is not None and base.kind is SnapshotKind.LAYER and not base.parents:
            return MountPlan(direct=dirs[0])  # made on scratch: the directory can't contain whiteouts
        # One directory alone can't be mounted; the empty one below it lets overlayfs interpret the whiteouts of a lone diff.
        empty = str(self._root / "empty")
        return MountPlan(lowers=(*dirs, empty) if len(dirs) < 2 else dirs) if dirs else MountPlan(direct=empty)

    def _own(self, id: str) -> str:
        return os.path.join(folder_of(self._root, id), "fs")

    def _dirs(self, id: str) -> tuple[str, ...]:
        """Directories of the layers of `id`, topmost first."""
        return tuple(self._stacks.place(entry) for entry in reversed(without_repeats(self.chain(id))))

    def _full(self, id: str) -> str:
        row = self._row(id)
        return self._full(row.parents[0]) if row.kind is SnapshotKind.FROZEN else self._own(id)

    def _lowers_of(self, row: Record) -> tuple[str, ...]:
        return self.lowers(row.parents[0]) if row.kind is SnapshotKind.LAYER and row.parents else ()

    def layer(self, id: str) -> Layer:
        """A snapshot's own layer."""
        row = self._row(id)
        if row.kind is SnapshotKind.DIFF and self._style is LayerStyle.FULL:
            low, up = (self._full(parent) for parent in row.parents)  # deletions can be seen only by comparing those two
            return Layer(id=id, style=self._style, path=up, lowers=(low,))
        # Deletions of a diff are such only when seen against the tree it was taken from.
        lowers = self.lowers(row.parents[0]) if row.kind is SnapshotKind.DIFF else self._lowers_of(row)
        return Layer(id=id, style=self._style, path=self._own(id), lowers=lowers)
