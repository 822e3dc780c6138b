"""A directory as overlayfs shows it, read from the layers themselves: no mount, and the lower side alone can be seen too.

Overlay marks: a char device 0/0 hides a name, `trusted.overlay.opaque=y` on a directory hides everything below it in lower layers.
"""

import os
import stat
from typing import NamedTuple, TypeAlias

from shared.errors import Internal

View: TypeAlias = tuple[str, ...]
"""The real directories that make up one directory of the merged tree, topmost first; empty = there is no such directory."""

_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


class Entry(NamedTuple):
    """One name in a view. `path` is the real file that shows; `below` is the view of it if it is a directory, else empty."""

    stat: os.stat_result
    path: str
    below: View


def is_whiteout(st: os.stat_result) -> bool:
    """Overlayfs's mark of a deleted name."""
    return stat.S_ISCHR(st.st_mode) and st.st_rdev == 0


def is_opaque(directory: str) -> bool:
    """Whether lower layers are hidden below this directory. Raises Internal for one renamed with redirect_dir: no differ reads that."""
    try:
        names = os.listxattr(directory, follow_symlinks=False)
    except OSError:
        return False
    if not names:
        return False
    if "trusted.overlay.redirect" in names or "user.overlay.redirect" in names:
        raise Internal(f"overlay directory {directory} was renamed with redirect_dir, which is not supported")
    return any(n in names and os.getxattr(directory, n, follow_symlinks=False) == b"y" for n in _OPAQUE)


def view_of(directories: View) -> View:
    """The view of the root: cut below the first opaque one."""
    for i, d in enumerate(directories):
        if is_opaque(d):
            return directories[: i + 1]
    return directories


def look(view: View, name: str) -> Entry | None:
    """What shows under `name`, or None."""
    shown: tuple[os.stat_result, str] | None = None
    below: list[str] = []
    for directory in view:
        path = f"{directory}/{name}"
        try:
            st = os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if is_whiteout(st):
            break
        is_directory = stat.S_ISDIR(st.st_mode)
        if shown is None:
            shown = (st, path)
            if not is_directory:
                break
        elif not is_directory:
            break
        below.append(path)
        if len(view) > 1 and is_opaque(path):
            break
    return None if shown is None else Entry(shown[0], shown[1], tuple(below))


def names(view: View) -> set[str]:
    """All names that show in a view."""
    shown: set[str] = set()
    hidden: set[str] = set()
    for directory in view:
        with os.scandir(directory) as entries:
            for e in entries:
                if e.name not in hidden:
                    hidden.add(e.name)
                    if _is_other(e) and is_whiteout(e.stat(follow_symlinks=False)):
                        continue
                    shown.add(e.name)
    return shown


def _is_other(entry: os.DirEntry[str]) -> bool:
    return not (entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False) or entry.is_symlink())
