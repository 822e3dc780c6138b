"""What a layer changes: added, modified and deleted paths in tar order, by the rules of BuildKit's two differs.

Overlay layers are read from the upper directory (util/overlay); full trees, and what is inside opaque directories, by walking
both sides (continuity fs/diff.go). A directory comes before its entries; names are ordered as bytes.
"""

import filecmp
import os
import stat
from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from services.executor.adapters.layer_view import Entry, View, is_opaque, is_whiteout, look, names, view_of


class ChangeKind(Enum):
    """UNMODIFIED is reported for hard-linked files only: another name of the same file may have changed."""

    ADD = "add"
    MODIFY = "modify"
    DELETE = "delete"
    UNMODIFIED = "unmodified"


class Change(NamedTuple):
    """`path` is relative, without a leading slash. `source` is the real file; `stat` is None for deletions."""

    kind: ChangeKind
    path: str
    stat: os.stat_result | None
    source: str


def overlay_changes(upper: str, lowers: View) -> Iterator[Change]:
    """The changes that an overlay upper directory makes to what lies below it (`lowers` topmost first)."""
    yield from _overlay("", upper, view_of(lowers))


def tree_changes(before: View, after: View) -> Iterator[Change]:
    """The changes from one tree to another, both views; an empty `before` means everything is added."""
    yield from _walk("", view_of(before), view_of(after))


def _overlay(prefix: str, upper: str, base: View) -> Iterator[Change]:
    # A stack of iterators instead of recursion: a hostile tree may be deeper than the interpreter's limit.
    stack = [_overlay_level(prefix, upper, base)]
    while stack:
        step = next(stack[-1], None)
        if step is None:
            stack.pop()
        elif isinstance(step, Change):
            yield step
        else:
            stack.append(step)


def _overlay_level(prefix: str, upper: str, base: View) -> "Iterator[Change | Iterator[Change]]":
    for name in _sorted(os.listdir(upper)):
        path, source = prefix + name, f"{upper}/{name}"
        st = os.lstat(source)
        below = look(base, name) if base else None
        if is_whiteout(st):
            if below is not None:
                yield Change(ChangeKind.DELETE, path, None, source)
            continue
        if below is None:
            yield Change(ChangeKind.ADD, path, st, source)
        elif not same_entry(below, Entry(st, source, ())):
            yield Change(ChangeKind.MODIFY, path, st, source)
        if stat.S_ISDIR(st.st_mode):
            if is_opaque(source) and below is not None:
                yield _walk(path + "/", below.below, (source,))
            else:
                yield _overlay_level(path + "/", source, below.below if below is not None else ())  # type: ignore[misc]


def _walk(prefix: str, before: View, after: View) -> Iterator[Change]:
    stack = [_walk_level(prefix, before, after)]
    while stack:
        step = next(stack[-1], None)
        if step is None:
            stack.pop()
        elif isinstance(step, Change):
            yield step
        else:
            stack.append(step)


def _walk_level(prefix: str, before: View, after: View) -> "Iterator[Change | Iterator[Change]]":
    old_names = names(before)
    for name in _sorted(old_names | names(after)):
        path = prefix + name
        old = look(before, name) if name in old_names else None
        new = look(after, name)
        if new is None:
            if old is not None:
                yield Change(ChangeKind.DELETE, path, None, "")
            continue
        if old is None:
            yield Change(ChangeKind.ADD, path, new.stat, new.path)
        elif not same_entry(old, new):
            yield Change(ChangeKind.MODIFY, path, new.stat, new.path)
        elif new.stat.st_nlink > 1 and not stat.S_ISDIR(new.stat.st_mode):
            yield Change(ChangeKind.UNMODIFIED, path, new.stat, new.path)
        if new.below:
            yield _walk_level(path + "/", old.below if old is not None else (), new.below)  # type: ignore[misc]


def same_entry(old: Entry, new: Entry) -> bool:
    """Whether nothing changed: owner, mode, device, capability; for files also size, mtime, and content where mtimes are whole seconds.

    A rewrite that keeps size and a mtime with nanoseconds is not seen, as in containerd.
    """
    a, b = old.stat, new.stat
    if a.st_ino == b.st_ino and a.st_dev == b.st_dev:
        return True
    if (a.st_mode, a.st_uid, a.st_gid, a.st_rdev) != (b.st_mode, b.st_uid, b.st_gid, b.st_rdev):
        return False
    if capability(old.path) != capability(new.path):
        return False
    if stat.S_ISDIR(a.st_mode):
        return True
    if a.st_size != b.st_size or a.st_mtime_ns != b.st_mtime_ns:
        return False
    if a.st_mtime_ns % 1_000_000_000:
        return True
    if stat.S_ISLNK(a.st_mode):
        return os.readlink(old.path) == os.readlink(new.path)
    return not stat.S_ISREG(a.st_mode) or a.st_size == 0 or filecmp.cmp(old.path, new.path, shallow=False)


def capability(path: str) -> bytes:
    """The file capabilities (`security.capability`), empty for none."""
    try:
        return os.getxattr(path, "security.capability", follow_symlinks=False)
    except OSError:
        return b""


def _sorted(found: "list[str] | set[str]") -> list[str]:
    return sorted(found) if all(map(str.isascii, found)) else sorted(found, key=os.fsencode)
