"""Copying of files and trees as they are: content (reflink or copy_file_range), owner, mode, times, xattrs, hard links, devices."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from fcntl import ioctl

__all__ = ["copy_content", "copy_metadata", "copy_node", "copy_tree", "copy_xattrs"]

_FICLONE = 0x40049409
_CHUNK = 1 << 30
_SMALL = 64 << 10
_NO_RANGE = {errno.ENOSYS, errno.EXDEV, errno.EPERM, errno.EIO, errno.EOPNOTSUPP, errno.EINVAL}


def copy_content(source: int, target: int, size: int) -> None:
    """All bytes of one open file into another, empty one. Errors: OSError."""
    if 0 < size <= _SMALL:
        # One read and one write beat the set-up of a range copy for small files.
        if os.write(target, data := os.read(source, _SMALL + 1)) == len(data) == size:
            return
        os.lseek(source, 0, os.SEEK_SET)
        os.lseek(target, 0, os.SEEK_SET)
        os.ftruncate(target, 0)
    elif size > _SMALL:
        try:
            ioctl(target, _FICLONE, source)
            return
        except OSError:
            pass
        if os.fstat(source).st_blocks * 512 < size:
            _copy_sparse(source, target, size)
            return
    _copy_ranges(source, target)


def _copy_sparse(source: int, target: int, size: int) -> None:
    """Only what is not a hole."""
    for start, end in _extents(source, size):
        at = start
        while at < end and (data := os.pread(source, min(end - at, 1 << 20), at)):
            at += os.pwrite(target, data, at)
    os.ftruncate(target, size)


def _extents(source: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a file has data: from, to."""
    end = 0
    while end < size:
        try:
            start = os.lseek(source, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # nothing but a hole from here on
                return
            raise
        end = min(os.lseek(source, start, os.SEEK_HOLE), size)
        yield start, end


def _copy_ranges(source: int, target: int) -> None:
    first = True
    while True:
        try:
            count = os.copy_file_range(source, target, _CHUNK)
        except OSError as error:
            if not first or error.errno not in _NO_RANGE:
                raise
            _copy_plain(source, target)
            return
        if count == 0:
            if first:  # files of /proc and such report nothing to range copies
                _copy_plain(source, target)
            return
        first = False


def _copy_plain(source: int, target: int) -> None:
    while data := os.read(source, 1 << 20):
        view = memoryview(data)
        while view:
            view = view[os.write(target, view) :]


def copy_xattrs(source: str | int, target: str | int) -> None:
    """Every extended attribute that can be read and set; what a file system refuses is left out (BuildKit does the same).

    Overlayfs' own marks never travel.
    """
    follow = isinstance(source, int)
    try:
        names = os.listxattr(source, follow_symlinks=follow)
    except OSError:
        return
    for name in names:
        if name.startswith("trusted.overlay."):
            continue
        try:
            os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=follow), follow_symlinks=follow)
        except OSError:
            continue


def copy_node(source: str, target: str, info: os.stat_result) -> None:
    """Make `target` (which does not exist) like `source`, which is anything but a directory; content only, no metadata."""
    mode = info.st_mode
    if stat.S_ISREG(mode):
        reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            try:
                copy_content(reader, writer, info.st_size)
            finally:
                os.close(writer)
        finally:
            os.close(reader)
    elif stat.S_ISLNK(mode):
        os.symlink(os.readlink(source), target)
    elif stat.S_ISSOCK(mode):
        os.mknod(target, stat.S_IFREG | stat.S_IMODE(mode))  # a socket without its listener is only a name
    else:
        os.mknod(target, mode, info.st_rdev)


def copy_metadata(source: str, target: str, info: os.stat_result) -> None:
    """Owner, mode, xattrs and times of `source`, whose lstat is `info`."""
    os.chown(target, info.st_uid, info.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(info.st_mode):
        os.chmod(target, stat.S_IMODE(info.st_mode))
    copy_xattrs(source, target)
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns), follow_symlinks=False)


def copy_tree(source: str, target: str) -> None:
    """Everything below the directory `source` into the existing directory `target`, and its own metadata."""
    links: dict[tuple[int, int], str] = {}
    _copy_below(source, target, links)
    copy_metadata(source, target, os.lstat(source))


def _copy_below(source: str, target: str, links: dict[tuple[int, int], str]) -> None:
    with os.scandir(source) as entries:
        found = list(entries)
    for entry in found:
        info, place = entry.stat(follow_symlinks=False), f"{target}/{entry.name}"
        if stat.S_ISDIR(info.st_mode):
            os.mkdir(place, 0o700)
            _copy_below(entry.path, place, links)
        else:
            first = links.setdefault((info.st_dev, info.st_ino), place) if info.st_nlink > 1 else place
            if first != place:
                os.link(first, place, follow_symlinks=False)
                continue
            copy_node(entry.path, place, info)
        copy_metadata(entry.path, place, info)
