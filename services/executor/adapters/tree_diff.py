"""What changed between two trees, and putting such changes onto a third (DiffOp; the native snapshotter's merges).

Two files count as equal when type, owner, mode, device, capability, size and mtime are equal; the content is read only if both
mtimes have no nanoseconds, since those were probably set by a tool (continuity fs/path.go; reference 06 §10).
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from services.executor.adapters.tree_copy import copy_metadata, copy_node

__all__ = ["Change", "apply_changes", "changes", "same_entry"]

_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """`info` is the lstat of the new entry, None = deleted. `touched` False marks a directory that is equal but holds changes."""

    path: str
    info: os.stat_result | None
    touched: bool = True


def changes(lower: str | None, upper: str) -> Iterator[Change]:
    """Changes from `lower` (None = empty) to `upper`, parents before children, siblings by name."""
    return _walk(lower, upper, "")


def _walk(lower: str | None, upper: str, below: str) -> Iterator[Change]:
    old, new = _names(lower), _names(upper)
    for name in sorted(old.keys() | new.keys()):
        path = f"{below}/{name}" if below else name
        if name not in new:
            yield Change(path=path, info=None)
            continue
        yield from _compare(path, f"{lower}/{name}" if name in old else None, old.get(name), f"{upper}/{name}", new[name])


def _compare(path: str, low: str | None, before: os.stat_result | None, up: str, after: os.stat_result) -> Iterator[Change]:
    if not stat.S_ISDIR(after.st_mode):
        if before is None or low is None or not same_entry(low, before, up, after):
            yield Change(path=path, info=after)
        return
    if before is None or not stat.S_ISDIR(before.st_mode):
        yield Change(path=path, info=after)
        yield from _walk(None, up, path)
        return
    inner = _walk(low, up, path)
    touched = not same_entry(low or "", before, up, after)
    first = next(inner, None)
    if touched or first is not None:
        yield Change(path=path, info=after, touched=touched)
    if first is not None:
        yield first
        yield from inner


def _names(directory: str | None) -> dict[str, os.stat_result]:
    if directory is None:
        return {}
    with os.scandir(directory) as entries:
        return {entry.name: entry.stat(follow_symlinks=False) for entry in entries}


def same_entry(low: str, before: os.stat_result, up: str, after: os.stat_result) -> bool:
    """Whether an entry is as it was; of directories only the looks count."""
    if (before.st_mode, before.st_uid, before.st_gid, before.st_rdev) != (after.st_mode, after.st_uid, after.st_gid, after.st_rdev):
        return False
    if _capability(low) != _capability(up):
        return False
    if stat.S_ISDIR(after.st_mode):
        return True
    if before.st_size != after.st_size or before.st_mtime_ns != after.st_mtime_ns:
        return False
    if after.st_mtime_ns % 1_000_000_000:
        return True
    return _same_content(low, up, after)


def _capability(path: str) -> bytes:
    try:
        return os.getxattr(path, "security.capability", follow_symlinks=False)
    except OSError:
        return b""


def _same_content(low: str, up: str, info: os.stat_result) -> bool:
    if stat.S_ISLNK(info.st_mode):
        return os.readlink(low) == os.readlink(up)
    if not stat.S_ISREG(info.st_mode):
        return True
    with open(low, "rb") as first, open(up, "rb") as second:
        while True:
            block = first.read(_BLOCK)
            if block != second.read(_BLOCK):
                return False
            if not block:
                return True


def apply_changes(found: Iterable[Change], upper: str, target: str, *, whiteouts: bool) -> None:
    """Put changes that were found in `upper` onto `target`; deletions as overlayfs whiteouts, or carried out.

    `target` is a tree of ours that nothing else touches; symlinks in it are never followed, since each parent was made (or
    checked to be a directory) by an earlier change.
    """
    links: dict[tuple[int, int], str] = {}
    done: list[tuple[str, str, os.stat_result]] = []
    for change in found:
        place = f"{target}/{change.path}"
        if change.info is None:
            _delete(place, whiteouts)
            continue
        source = f"{upper}/{change.path}"
        if stat.S_ISDIR(change.info.st_mode):
            if not _is_directory(place):
                _clear(place)
                os.mkdir(place, 0o700)
            done.append((source, place, change.info))
            continue
        _clear(place)
        first = links.setdefault((change.info.st_dev, change.info.st_ino), place) if change.info.st_nlink > 1 else place
        if first != place:
            os.link(first, place, follow_symlinks=False)
            continue
        copy_node(source, place, change.info)
        copy_metadata(source, place, change.info)
    for source, place, info in reversed(done):
        copy_metadata(source, place, info)


def _is_directory(place: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(place).st_mode)
    except FileNotFoundError:
        return False


def _clear(place: str) -> None:
    if _is_directory(place):
        shutil.rmtree(place)
    else:
        try:
            os.unlink(place)
        except FileNotFoundError:
            return


def _delete(place: str, whiteouts: bool) -> None:
    _clear(place)
    if whiteouts:
        os.mknod(place, stat.S_IFCHR, os.makedev(0, 0))
