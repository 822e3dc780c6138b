"""Making overlay layers fit for any place in a stack (MergeOp, DiffOp).

Two of overlayfs' marks mean what they should only where the layer was made:

- an opaque directory hides whatever lies below, also files of layers it never knew. BuildKit's rule is that a merge takes over
  *explicit* deletions, one per name (OCI image-spec layer.md): so opaque directories are spelled out;
- a whiteout in a directory that no other layer has is listed by readdir instead of being hidden, since overlayfs reads such a
  directory directly. A skeleton of empty directories below the stack makes it a merged one.

And what was only copied up (a directory whose mount points came and went) is no change at all: it is left out, else it would
show in a diff and cover the looks of other inputs' directories.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass

from services.executor.adapters.layer_view import View, is_opaque, is_whiteout, look, names, view_of
from services.executor.adapters.tree_copy import copy_metadata
from services.executor.adapters.tree_diff import same_entry

__all__ = ["Marks", "make_skeleton", "scan_marks", "spell_out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Marks:
    """`misfit`: the layer has to be spelled out; `whiteouts`: directories (relative, "" = root) that hold whiteouts."""

    misfit: bool
    whiteouts: tuple[str, ...]

    def encode(self) -> bytes:
        return json.dumps([self.misfit, self.whiteouts]).encode()

    @staticmethod
    def decode(data: bytes) -> Marks:
        misfit, whiteouts = json.loads(data)
        return Marks(misfit=bool(misfit), whiteouts=tuple(whiteouts))


def scan_marks(root: str, lowers: View) -> Marks:
    """Look at every entry of a layer that was made above `lowers`."""
    misfit, found = is_opaque(root), []
    work: list[tuple[str, View]] = [("", view_of(lowers))]
    while work:
        rel, below = work.pop()
        with os.scandir(f"{root}/{rel}") as entries:
            listed = list(entries)
        if any(_is_mark(entry) for entry in listed):
            found.append(rel)
        for entry in listed:
            under = look(below, entry.name) if below else None
            directory = entry.is_dir(follow_symlinks=False)
            misfit = misfit or (directory and is_opaque(entry.path))
            if under is not None and not misfit and not _is_mark(entry):
                misfit = same_entry(under.path, under.stat, entry.path, entry.stat(follow_symlinks=False)) and not (
                    directory and os.listdir(entry.path)
                )
            if directory:
                work.append((f"{rel}/{entry.name}" if rel else entry.name, under.below if under is not None else ()))
    return Marks(misfit=misfit, whiteouts=tuple(sorted(found)))


def _is_mark(entry: os.DirEntry[str]) -> bool:
    if entry.is_dir(follow_symlinks=False) or entry.is_file(follow_symlinks=False) or entry.is_symlink():
        return False
    return is_whiteout(entry.stat(follow_symlinks=False))


def spell_out(layer: str, lowers: View, target: str) -> None:
    """A copy of the layer in the new directory `target`, files hard-linked: no directory is opaque, and nothing is unchanged.

    Names of `lowers` that its opaque directories hid have whiteouts of their own instead.
    """
    os.mkdir(target, 0o700)
    _spell(layer, view_of(lowers), target, hidden=is_opaque(layer))


def _spell(source: str, below: View, target: str, *, hidden: bool) -> int:
    """The number of entries that were made in `target`."""
    with os.scandir(source) as entries:
        listed = list(entries)
    made = sum(_spell_entry(entry, below, target, hidden=hidden) for entry in listed)
    if hidden and below:
        for name in sorted(names(below) - {entry.name for entry in listed}):
            _whiteout(f"{target}/{name}")
            made += 1
    copy_metadata(source, target, os.lstat(source))
    return made


def _spell_entry(entry: os.DirEntry[str], below: View, target: str, *, hidden: bool) -> bool:
    place = f"{target}/{entry.name}"
    if _is_mark(entry):
        _whiteout(place)
        return True
    under = look(below, entry.name) if below else None
    same = under is not None and same_entry(under.path, under.stat, entry.path, entry.stat(follow_symlinks=False))
    if not entry.is_dir(follow_symlinks=False):
        if not same:
            os.link(entry.path, place, follow_symlinks=False)
        return not same
    os.mkdir(place, 0o700)
    inner = _spell(entry.path, under.below if under else (), place, hidden=hidden or is_opaque(entry.path))
    if same and not inner:
        os.rmdir(place)
        return False
    return True


def _whiteout(place: str) -> None:
    os.mknod(place, stat.S_IFCHR, os.makedev(0, 0))


def make_skeleton(target: str, directories: Iterable[str]) -> None:
    """Empty directories at these relative paths, in the new directory `target`."""
    os.mkdir(target, 0o755)
    for directory in directories:
        os.makedirs(f"{target}/{directory}", mode=0o755, exist_ok=True)
