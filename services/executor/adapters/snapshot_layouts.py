"""The two ways a snapshot's own directory `<dir>/fs` can be made: only the difference (overlayfs), or the whole tree (native)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

from services.executor.adapters.tree_copy import copy_tree
from services.executor.adapters.tree_diff import apply_changes, changes
from services.executor.core.snapshots import Layer, LayerStyle, SnapshotKind

__all__ = ["Layout", "NativeLayout", "OverlayLayout", "disk_usage"]


class Layout(Protocol):
    """What the store leaves to the kind of disk."""

    @property
    def style(self) -> LayerStyle: ...

    def has_own(self, kind: SnapshotKind) -> bool:
        """Whether snapshots of this kind have a directory of their own."""

    def make(self, dir: str, lowers: Sequence[str]) -> None:
        """Make `dir` for a new mutable snapshot above `lowers`."""

    def merge(self, dir: str, layers: Sequence[Layer]) -> None:
        """Make what a snapshot needs that consists of these layers."""

    def diff(self, dir: str, lower: str, upper: str) -> None:
        """Make a layer of the changes between two mounted trees."""


class OverlayLayout:
    """Each directory holds a difference in overlayfs' own notation; merging costs nothing."""

    style = LayerStyle.OVERLAY

    def has_own(self, kind: SnapshotKind) -> bool:
        return kind in (SnapshotKind.LAYER, SnapshotKind.DIFF)

    def make(self, dir: str, lowers: Sequence[str]) -> None:
        _new_own(dir, lowers)  # what overlayfs works in is made when it is mounted

    def merge(self, dir: str, layers: Sequence[Layer]) -> None:
        return None  # the store makes the layers fit for their new places (layer_marks.py)

    def diff(self, dir: str, lower: str, upper: str) -> None:
        _new_own(dir, [upper])
        apply_changes(changes(lower, upper), upper, os.path.join(dir, "fs"), whiteouts=True)


class NativeLayout:
    """Each directory holds a whole tree, copied from its parent (reflinks where the file system has them)."""

    style = LayerStyle.FULL

    def has_own(self, kind: SnapshotKind) -> bool:
        return kind is not SnapshotKind.FROZEN

    def make(self, dir: str, lowers: Sequence[str]) -> None:
        own = _new_own(dir, lowers)
        if lowers:
            copy_tree(lowers[0], own)

    def merge(self, dir: str, layers: Sequence[Layer]) -> None:
        own = _new_own(dir, [layers[0].path] if layers else [])
        for place, layer in enumerate(layers):
            if place == 0 and not layer.lowers:
                copy_tree(layer.path, own)
            else:
                apply_changes(changes(layer.lowers[0] if layer.lowers else None, layer.path), layer.path, own, whiteouts=False)

    def diff(self, dir: str, lower: str, upper: str) -> None:
        own = _new_own(dir, [upper])
        apply_changes(changes(lower, upper), upper, own, whiteouts=False)


def _new_own(dir: str, like: Sequence[str]) -> str:
    """`<dir>/fs` with the owner and mode of the root that it will cover."""
    os.mkdir(dir, 0o711)
    own = os.path.join(dir, "fs")
    os.mkdir(own, 0o755)
    if like:
        above = os.stat(like[0])
        os.chown(own, above.st_uid, above.st_gid)
        os.chmod(own, above.st_mode & 0o7777)
    return own


def disk_usage(dir: str) -> int:
    """Bytes that the files below `<dir>/fs` take on disk; hard links count once."""
    total, seen, work = 0, set[int](), [os.path.join(dir, "fs")]
    while work:
        try:
            entries = list(os.scandir(work.pop()))
        except FileNotFoundError:
            continue
        for entry in entries:
            try:
                stat = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            if stat.st_nlink > 1 and not entry.is_dir(follow_symlinks=False):
                if stat.st_ino in seen:
                    continue
                seen.add(stat.st_ino)
            total += stat.st_blocks * 512
            if entry.is_dir(follow_symlinks=False):
                work.append(entry.path)
    return total
