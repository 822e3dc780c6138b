"""Reads a folder as the sending side shows it: entries in the protocol's order, and files by path. Blocking, for a worker thread."""

from __future__ import annotations

import errno
import os
import stat as st
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from shared.fsutil import mode as modes
from shared.fsutil.packets import Stat

_SKIPPED_XATTRS: Final = "com.apple."
_OPEN_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_NONBLOCK", 0)

Visit = Callable[[str, bool], bool]
"""Path and whether it is a directory → whether to look at it (and, a directory, into it)."""


def walk(root: str, *, xattrs: bool = True, visit: Visit | None = None) -> Iterator[Stat]:
    """All entries below `root` in the protocol's order, symlinks not followed. What vanishes meanwhile is left out.

    Hard links get the path of the first name seen as link name (fsutil stat_unix.go). Raises OSError for what can't be read.
    """
    seen: dict[tuple[int, int], str] = {}
    pending: list[Iterator[tuple[str, os.DirEntry[str]]]] = [_listing(root, "")]
    while pending:
        item = next(pending[-1], None)
        if item is None:
            pending.pop()
            continue
        path, entry = item
        is_dir = entry.is_dir(follow_symlinks=False)
        if visit is not None and not visit(path, is_dir):
            continue
        try:
            yield _stat_of(path, entry.path, entry.stat(follow_symlinks=False), seen, xattrs=xattrs)
        except FileNotFoundError:
            continue
        if is_dir:
            pending.append(_listing(entry.path, path + "/"))


def _listing(directory: str, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Sorted by bytes: within one directory that is the protocol's order, since its separator sorts below all others."""
    try:
        with os.scandir(directory) as entries:
            found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in found:
        yield prefix + entry.name, entry


def _stat_of(path: str, full: str, info: os.stat_result, seen: dict[tuple[int, int], str], *, xattrs: bool) -> Stat:
    mode = modes.to_go(info.st_mode)
    linkname, size, major, minor = "", 0, 0, 0
    if st.S_ISLNK(info.st_mode):
        linkname, size = os.readlink(full), info.st_size
    elif not st.S_ISDIR(info.st_mode):
        size = info.st_size
        if mode & modes.DEVICE:
            major, minor = os.major(info.st_rdev), os.minor(info.st_rdev)
        if info.st_nlink > 1:
            first = seen.setdefault((info.st_dev, info.st_ino), path)
            linkname = first if first != path else ""
    return Stat(
        path, mode, info.st_uid, info.st_gid, size, info.st_mtime_ns, linkname, major, minor,
        read_xattrs(full) if xattrs else {},
    )  # fmt: skip


def read_xattrs(path: str) -> Mapping[str, bytes]:
    """None of a symlink's target; those that can't be read are left out."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENOENT):
            return {}
        raise
    found: dict[str, bytes] = {}
    for name in names:
        if not name.startswith(_SKIPPED_XATTRS):
            try:
                found[name] = os.getxattr(path, name, follow_symlinks=False)
            except OSError:
                continue
    return found


def open_file(root: str, path: str) -> int | None:
    """A descriptor for reading `path` below `root`, or None when it can't be opened (it then arrives empty, see send.go).

    No component may be a symlink: the list that was sent didn't contain any file behind one.
    """
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    parts = path.split("/")
    try:
        for part in parts[:-1]:
            inner = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            os.close(directory)
            directory = inner
        fd = os.open(parts[-1], _OPEN_FLAGS, dir_fd=directory)
    except OSError:
        return None
    finally:
        os.close(directory)
    if not st.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    return fd
