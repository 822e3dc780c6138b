"""Making overlay layers fit for any place in a stack (MergeOp, DiffOp).

Two of overlayfs' marks mean what they should only where the layer was made:

- an opaque directory hides whatever lies below, also files of layers it never knew. BuildKit's rule is that a merge takes over
  *explicit* deletions, one per name (OCI image-spec layer.md): so opaque directories are spelled out;
- a whiteout in a directory that no other layer has is listed by readdir instead of being hidden, since overlayfs reads such a
  directory directly. A skeleton of empty directories below the stack makes it a merged one.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from services.executor.adapters.layer_view import View, is_opaque, is_whiteout, look, names, view_of
from services.executor.adapters.tree_copy import copy_metadata

__all__ = ["Marks", "make_skeleton", "scan_marks", "spell_out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """`opaque`: some directory is; `whiteouts`: directories (relative, "" = root) that hold whiteouts."""

    opaque: bool
    whiteouts: tuple[str, ...]

    def encode(self) -> bytes:
        return json.dumps([self.opaque, self.whiteouts]).encode()

    @staticmethod
    def decode(data: bytes) -> Marks:
        opaque, whiteouts = json.loads(data)
        return Marks(opaque=bool(opaque), whiteouts=tuple(whiteouts))


def scan_marks(root: str) -> Marks:
    """Look at every directory of a layer."""
    opaque, found, work = False, [], [""]
    while work:
        rel = work.pop()
        path = f"{root}/{rel}"
        opaque = opaque or is_opaque(path)
        with os.scandir(path) as entries:
            listed = list(entries)
        if any(_is_mark(entry) for entry in listed):
            found.append(rel)
        work += [f"{rel}/{e.name}" if rel else e.name for e in listed if e.is_dir(follow_symlinks=False)]
    return Marks(opaque=opaque, whiteouts=tuple(sorted(found)))


def _is_mark(entry: os.DirEntry[str]) -> bool:
    if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False) or entry.is_symlink():
        return False
    return is_whiteout(entry.stat(follow_symlinks=False))


def spell_out(layer: str, lowers: View, target: str) -> None:
    """A copy of the layer in the new directory `target`, files hard-linked, in which no directory is opaque.

    Names of `lowers` that its opaque directories hid have whiteouts of their own instead.
    """
    os.mkdir(target, 0o700)
    _spell(layer, view_of(lowers), target, hidden=is_opaque(layer))


def _spell(source: str, below: View, target: str, *, hidden: bool) -> None:
    with os.scandir(source) as entries:
        listed = list(entries)
    for entry in listed:
        place = f"{target}/{entry.name}"
        if not entry.is_dir(follow_symlinks=False):
            if _is_mark(entry):
                _whiteout(place)
            else:
                os.link(entry.path, place, follow_symlinks=False)
            continue
        under = look(below, entry.name) if below else None
        os.mkdir(place, 0o700)
        _spell(entry.path, under.below if under else (), place, hidden=hidden or is_opaque(entry.path))
    if hidden and below:
        for name in sorted(names(below) - {entry.name for entry in listed}):
            _whiteout(f"{target}/{name}")
    copy_metadata(source, target, os.lstat(source))


def _whiteout(place: str) -> None:
    os.mknod(place, stat.S_IFCHR, os.makedev(0, 0))


def make_skeleton(target: str, directories: Iterable[str]) -> None:
    """Empty directories at these relative paths, in the new directory `target`."""
    os.mkdir(target, 0o755)
    for directory in directories:
        os.makedirs(f"{target}/{directory}", mode=0o755, exist_ok=True)
