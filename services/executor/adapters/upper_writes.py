"""File actions without a mount: carried out in the upper directory alone, where overlayfs would do the same.

That is so when all that an action makes has no counterpart in the layers below and every directory on the way is a real one: then
only those directories have to be copied up. Mounting an overlay costs 1 ms of CPU, of a hundred layers 3.5; looking takes a tenth.
Everything else (replacing, removing, symlinks on the way, wildcards, archives) needs the mount.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from services.executor.adapters.layer_view import Entry, View, look, view_of
from services.executor.adapters.rooted import Rooted, Spot
from services.executor.adapters.tree_copy import copy_metadata
from services.executor.core.fileop import clean_path
from services.executor.core.path_match import has_wildcards
from services.executor.core.snapshots import Layer, LayerStyle
from shared.llb import Action, Copy, MkDir, MkFile, Symlink

__all__ = ["opens_upper"]

_MOST = 32
"""Names that are looked for in the layers below, at most."""


def opens_upper(own: Layer, action: Action, source: str | None) -> bool:
    """Whether `own.path` does for this action in place of a mount; the directories on the way are in it then.

    `own` is the layer of a mutable snapshot that is mounted nowhere, `source` the tree that a copy reads. Errors: OSError.
    """
    if own.style is not LayerStyle.OVERLAY:
        return False
    match action:
        case MkDir() | MkFile():
            return _Way(own, action.path).opens(())
        case Symlink():
            return _Way(own, action.newpath).opens(())
        case Copy():
            return source is not None and _copy_opens(own, action, source)
    return False


def _copy_opens(own: Layer, action: Copy, source: str) -> bool:
    src, dest = clean_path(action.src), clean_path(action.dest)
    if action.attempt_unpack or (action.allow_wildcard and has_wildcards(src)):
        return False
    with Rooted(source) as tree, tree.find(src, follow=action.follow_symlink) as spot:
        names = _made_below(spot, src, action)
    return names is not None and _Way(own, dest).opens(names)


def _made_below(spot: Spot, src: str, action: Copy) -> Sequence[str] | None:
    """Names that the copy makes in its destination if that is a directory; None when they are too many, or nobody knows."""
    if spot.info is None:
        return None
    if not spot.is_dir:
        return (src.rstrip("/").removesuffix("/.").rstrip("/").rpartition("/")[2],)
    if not action.dir_copy_contents:
        return None
    fd = os.open(spot.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=spot.parent)
    try:
        with os.scandir(fd) as entries:
            names = [entry.name for entry, _ in zip(entries, range(_MOST + 1), strict=False)]
    finally:
        os.close(fd)
    return names


class _Way:
    """The directories from the root to a path, as far as they exist. `plain`: no symlink, file or `..` is among them."""

    def __init__(self, own: Layer, path: str) -> None:
        self._upper = own.path
        parts = [part for part in path.split("/") if part not in ("", ".")]
        self._found: list[tuple[str, Entry]] = []
        self._view: View = (own.path, *own.lowers)
        self._missing = ""
        self.plain = ".." not in parts
        for part in parts if self.plain else ():
            entry = look(self._view, part)
            if entry is not None and not self._found:  # a layer may hide all below it, which does not matter to what is nowhere
                entry = look(view_of(self._view), part)
            if entry is None:
                self._missing = part
                break
            if not stat.S_ISDIR(entry.stat.st_mode):
                self.plain = False
                break
            self._found.append((part, entry))
            self._view = entry.below

    def opens(self, names: Sequence[str]) -> bool:
        """Copies the directories up if what is made is new: the path itself, or these names in it where it is a directory."""
        if not self.plain:
            return False
        place = "/".join((self._upper, *(name for name, _ in self._found)))
        made = (self._missing,) if self._missing else names
        if not 0 < len(made) <= _MOST or any(os.path.lexists(f"{place}/{name}") for name in made):  # perhaps as deleted
            return False
        if not self._missing and any(look(self._view, name) for name in names):
            return False
        self._copy_up()
        return True

    def _copy_up(self) -> None:
        """As overlayfs does; a directory's times stay when another is made in it."""
        path, above = self._upper, os.lstat(self._upper)
        times: list[tuple[str, os.stat_result]] = []
        for name, entry in self._found:
            parent, path = path, f"{path}/{name}"
            if not os.path.lexists(path):
                os.mkdir(path, 0o700)
                copy_metadata(entry.path, path, entry.stat)
                times.append((parent, above))
            above = entry.stat
        for parent, info in reversed(times):
            os.utime(parent, ns=(info.st_atime_ns, info.st_mtime_ns))
