"""Does a receiver's steps in a folder: blocking, for a worker thread.

Every path is walked by directory descriptors that follow no symlink.
"""

from __future__ import annotations

import contextlib
import os
import stat as st
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import Final

from shared.errors import InvalidInput
from shared.fsutil import mode as modes
from shared.fsutil.packets import Stat
from shared.fsutil.receiver import (
    AppendFile,
    BeginFile,
    EndFile,
    LinkFile,
    MakeEntry,
    Remove,
    Step,
    TouchDirectory,
    WriteFile,
)

_KEPT_OPEN: Final = 64
_DIR_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class TreeWriter:
    """Writes below `root`, an existing directory that nobody else changes meanwhile. A context manager.

    `owner` replaces uid and gid of every entry; without it, entries are chowned when we are root and left alone when not.
    Raises OSError; InvalidInput for an entry that can't be made.
    """

    def __init__(self, root: str | os.PathLike[str], *, owner: tuple[int, int] | None = None) -> None:
        self._root = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._owner = owner
        self._may_chown = os.geteuid() == 0
        self._open: dict[str, int] = {"": self._root}
        self._files: dict[int, tuple[int, Stat]] = {}
        self._lock = threading.Lock()  # whoever closes waits for the batch that is being written
        self.bytes_written = 0

    def __enter__(self) -> TreeWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Idempotent."""
        with self._lock:
            for fd in (*self._open.values(), *(fd for fd, _ in self._files.values())):
                os.close(fd)
            self._open.clear()
            self._files.clear()

    def apply(self, steps: Iterable[Step]) -> None:
        with self._lock:
            self._apply(steps)

    def _apply(self, steps: Iterable[Step]) -> None:
        for step in steps:
            match step:
                case WriteFile(stat, data):
                    self._write_file(stat, data)
                case MakeEntry(stat):
                    self._make_entry(stat)
                case AppendFile(number, data):
                    _append(self._files[number][0], data)
                    self.bytes_written += len(data)
                case BeginFile(stat, number):
                    self._files[number] = (self._create(stat), stat)
                case EndFile(number):
                    fd, stat = self._files.pop(number)
                    os.ftruncate(fd, os.lseek(fd, 0, os.SEEK_CUR))  # it may end in a hole
                    self._finish_file(fd, stat)
                case LinkFile(stat):
                    self._link(stat)
                case Remove(path):
                    self._remove(path)
                case TouchDirectory(stat):
                    fd = self._directory(stat.path)
                    os.utime(fd, ns=(stat.mtime, stat.mtime))

    # -- directories by descriptor ----------------------------------------------------------------------------------

    def _directory(self, path: str) -> int:
        fd = self._open.get(path)
        if fd is not None:
            return fd
        if not path:
            raise AssertionError("the writer is closed")
        parent, _, name = path.rpartition("/")
        fd = os.open(name, _DIR_FLAGS, dir_fd=self._directory(parent))
        if len(self._open) > _KEPT_OPEN:
            self._close_some(keep=parent)
        self._open[path] = fd
        return fd

    def _close_some(self, *, keep: str) -> None:
        """Entries come depth first, so the oldest ones are rarely needed again."""
        for path in list(self._open)[: _KEPT_OPEN // 2]:
            if path and path != keep:
                os.close(self._open.pop(path))

    def _forget(self, path: str) -> None:
        """The directory is going away."""
        for other in [p for p in self._open if p == path or p.startswith(path + "/")]:
            os.close(self._open.pop(other))

    def _place(self, path: str) -> tuple[int, str]:
        parent, _, name = path.rpartition("/")
        return self._directory(parent), name

    # -- files ------------------------------------------------------------------------------------------------------

    def _create(self, stat: Stat) -> int:
        parent, name = self._place(stat.path)
        try:
            return os.open(name, _NEW_FLAGS, 0o600, dir_fd=parent)
        except FileExistsError:
            self._clear(stat.path, parent, name)
            return os.open(name, _NEW_FLAGS, 0o600, dir_fd=parent)

    def _write_file(self, stat: Stat, data: bytes) -> None:
        fd = self._create(stat)
        try:
            if data:
                _write_all(fd, data)
                self.bytes_written += len(data)
        except OSError:
            os.close(fd)
            raise
        self._finish_file(fd, stat)

    def _finish_file(self, fd: int, stat: Stat) -> None:
        try:
            self._own(stat, fd)
            os.fchmod(fd, modes.permissions(stat.mode))
            if stat.xattrs:
                self._set_xattrs(fd, stat)
            os.utime(fd, ns=(stat.mtime, stat.mtime))
        finally:
            os.close(fd)

    def _own(self, stat: Stat, fd: int) -> None:
        if self._owner is not None:
            os.fchown(fd, *self._owner)
        elif self._may_chown:
            os.fchown(fd, stat.uid, stat.gid)

    def _own_name(self, stat: Stat, parent: int, name: str) -> None:
        if self._owner is not None:
            os.chown(name, *self._owner, dir_fd=parent, follow_symlinks=False)
        elif self._may_chown:
            os.chown(name, stat.uid, stat.gid, dir_fd=parent, follow_symlinks=False)

    @staticmethod
    def _set_xattrs(fd: int, stat: Stat) -> None:
        """What the file system refuses is left out (diskwriter_unix.go)."""
        for key, value in stat.xattrs.items():
            with contextlib.suppress(OSError):
                os.setxattr(fd, key, value)

    def _link(self, stat: Stat) -> None:
        source, source_name = self._place(stat.linkname)
        parent, name = self._place(stat.path)
        try:
            os.link(source_name, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)
        except FileExistsError:
            self._clear(stat.path, parent, name)
            os.link(source_name, name, src_dir_fd=source, dst_dir_fd=parent, follow_symlinks=False)

    # -- other entries ----------------------------------------------------------------------------------------------

    def _make_entry(self, stat: Stat) -> None:
        parent, name = self._place(stat.path)
        if stat.mode & modes.DIR:
            self._make_directory(stat, parent, name)
            return
        try:
            self._make_special(stat, parent, name)
        except FileExistsError:
            self._clear(stat.path, parent, name)
            self._make_special(stat, parent, name)
        self._own_name(stat, parent, name)
        if not stat.mode & modes.SYMLINK:
            os.chmod(name, modes.permissions(stat.mode), dir_fd=parent)
        os.utime(name, ns=(stat.mtime, stat.mtime), dir_fd=parent, follow_symlinks=False)

    def _make_directory(self, stat: Stat, parent: int, name: str) -> None:
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if not st.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                self._clear(stat.path, parent, name)
                os.mkdir(name, 0o700, dir_fd=parent)
        fd = self._directory(stat.path)
        self._own(stat, fd)
        os.fchmod(fd, modes.permissions(stat.mode))
        if stat.xattrs:
            self._set_xattrs(fd, stat)

    def _make_special(self, stat: Stat, parent: int, name: str) -> None:
        kind = stat.mode & modes.TYPE
        if kind == modes.SYMLINK:
            os.symlink(stat.linkname, name, dir_fd=parent)
        elif kind == modes.NAMED_PIPE:
            os.mkfifo(name, 0o600, dir_fd=parent)
        elif kind & modes.DEVICE:
            device = os.makedev(stat.devmajor, stat.devminor)
            os.mknod(name, 0o600 | st.S_IFMT(modes.to_unix(stat.mode)), device, dir_fd=parent)
        else:
            raise InvalidInput(f"{stat.path[:200]!r} is of a kind that can't be made")

    # -- removal ----------------------------------------------------------------------------------------------------

    def _remove(self, path: str) -> None:
        try:
            parent, name = self._place(path)
            self._clear(path, parent, name)
        except (FileNotFoundError, NotADirectoryError):
            pass  # it went with a directory above
        except OSError as error:
            if error.errno != 40:  # ELOOP: a symlink stands where a directory was, so the path is gone
                raise

    def _clear(self, path: str, parent: int, name: str) -> None:
        """Remove whatever `name` is."""
        if not st.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
            os.unlink(name, dir_fd=parent)
            return
        self._forget(path)
        remove_tree(name, parent)


def remove_tree(name: str, parent: int) -> None:
    """A directory and all in it, by descriptors and without recursion, so that depth costs neither stack nor descriptors."""
    top = os.open(name, _DIR_FLAGS, dir_fd=parent)
    try:
        while True:
            subdirectory = _empty_files(top)
            if subdirectory is None:
                break
            _hoist(top, subdirectory)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _empty_files(directory: int) -> str | None:
    """Unlink everything but directories; the name of one of those, if there is one."""
    found = None
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                found = entry.name
            else:
                os.unlink(entry.name, dir_fd=directory)
    return found


def _hoist(top: int, name: str) -> None:
    """Move the directories within `name` up beside it, remove its files, then itself."""
    inner = os.open(name, _DIR_FLAGS, dir_fd=top)
    try:
        os.fchmod(inner, 0o700)
        with os.scandir(inner) as entries:
            listed = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for count, (entry, is_dir) in enumerate(listed):
            if is_dir:
                os.rename(entry, f".gone-{os.fstat(inner).st_ino:x}-{count}", src_dir_fd=inner, dst_dir_fd=top)
            else:
                os.unlink(entry, dir_fd=inner)
    finally:
        os.close(inner)
    os.rmdir(name, dir_fd=top)


def _append(fd: int, data: bytes) -> None:
    """A piece of zeros becomes a hole: the protocol sends those of sparse files like any other bytes, and they are worth no disk."""
    if data and not data[0] and not data[-1] and data == bytes(len(data)):
        os.lseek(fd, len(data), os.SEEK_CUR)
    else:
        _write_all(fd, data)


def _write_all(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, memoryview(data)[written:])
