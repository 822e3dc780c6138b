"""Paths resolved inside a root directory, never outside of it, whatever symlinks say (as BuildKit's fs.RootPath does).

The walk goes component by component over open directories: each is opened with O_NOFOLLOW, each symlink is read and walked
as if the root were `/`, `..` at the root stays there. So there is no moment in which a path text is handed to the kernel that
somebody could have turned into a symlink meanwhile.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import BuildFailed

__all__ = ["Rooted", "Spot", "go_error"]

_MAX_LINKS = 255
_DIR = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def go_error(verb: str, path: str, error: OSError) -> BuildFailed:
    """An OSError in the words of Go's PathError (`lstat /x: no such file or directory`), for which clients' tests look."""
    return BuildFailed(
        f"{verb} {path}: {(error.strerror or 'input/output error').lower()}", reason=errno.errorcode.get(error.errno or 0, "")
    )


class Spot:
    """Where a path leads: `name` in the open directory `parent`; `path` is the same place in text, relative to the root, free of symlinks.

    `info` is its lstat, None when it does not exist; then `missing` holds all names from the first one that is not there
    (`name` is the first of them). The root itself has name `.` and path "".
    """

    __slots__ = ("info", "missing", "name", "parent", "path")

    def __init__(self, parent: int, name: str, path: str, info: os.stat_result | None, missing: tuple[str, ...] = ()) -> None:
        self.parent = parent
        self.name = name
        self.path = path
        self.info = info
        self.missing = missing

    @property
    def is_dir(self) -> bool:
        return self.info is not None and stat.S_ISDIR(self.info.st_mode)

    @property
    def is_link(self) -> bool:
        return self.info is not None and stat.S_ISLNK(self.info.st_mode)

    def open(self, flags: int, mode: int = 0o600) -> int:
        """Open the entry itself, no symlink followed."""
        return os.open(self.name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, mode, dir_fd=self.parent)

    def open_file(self) -> int:
        """Open a regular file for reading. Errors: OSError, BuildFailed for anything else.

        In the tree of a container that runs it may have become a pipe since we looked, and opening one would last for ever.
        """
        held = self.open(os.O_PATH)
        try:
            if not stat.S_ISREG(os.fstat(held).st_mode):
                raise BuildFailed(f"{self.path} is not a regular file")
            return os.open(f"/proc/self/fd/{held}", os.O_RDONLY | os.O_CLOEXEC)
        finally:
            os.close(held)


class Rooted:
    """A root directory, held open. A context manager."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> Rooted:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    @contextmanager
    def find(self, path: str, *, follow: bool = True) -> Iterator[Spot]:
        """The spot of `path`; a symlink as last component is followed only with `follow`.

        Missing components are no error (see Spot). Errors: NotADirectoryError, OSError ELOOP.
        """
        fds = [os.dup(self.fd)]
        try:
            yield self._walk(fds, path, follow)
        finally:
            for fd in fds:
                os.close(fd)

    def _walk(self, fds: list[int], path: str, follow: bool) -> Spot:
        names: list[str] = []
        todo = _parts(path)
        links = 0
        while todo:
            part = todo.pop()
            if part == "..":
                if names:
                    os.close(fds.pop())
                    names.pop()
                continue
            try:
                info = os.stat(part, dir_fd=fds[-1], follow_symlinks=False)
            except FileNotFoundError:
                return _absent(fds[-1], names, part, todo)
            if stat.S_ISLNK(info.st_mode) and (follow or todo):
                links += 1
                if links > _MAX_LINKS:
                    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
                target = os.readlink(part, dir_fd=fds[-1])
                if target.startswith("/"):
                    _rewind(fds, names)
                todo.extend(_parts(target))
                continue
            if not todo:
                return Spot(fds[-1], part, "/".join([*names, part]), info)
            if not stat.S_ISDIR(info.st_mode):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), "/" + "/".join([*names, part]))
            fds.append(os.open(part, _DIR, dir_fd=fds[-1]))
            names.append(part)
        return Spot(fds[-1], ".", "/".join(names), os.fstat(fds[-1]))

    def read(self, path: str, limit: int) -> bytes:
        """A regular file's bytes, symlinks followed inside the root. Errors: OSError; BuildFailed for other kinds or above `limit`."""
        with self.find(path) as spot:
            if spot.info is None:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            if not stat.S_ISREG(spot.info.st_mode):
                raise BuildFailed(f"{path} is not a regular file")
            with open(spot.open_file(), "rb") as file:
                data = file.read(limit + 1)
        if len(data) > limit:
            raise BuildFailed(f'"{path}" exceeds {limit} bytes')
        return data

    def make_dirs(self, path: str, mode: int, *, owner: tuple[int, int] | None = None, time_ns: int | None = None) -> list[str]:
        """Make `path` and its missing parents; returns those it made, outermost first. Errors: NotADirectoryError."""
        with self.find(path) as spot:
            if spot.info is not None:
                if not spot.is_dir:
                    raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
                return []
            base = spot.path[: len(spot.path) - len("/".join(spot.missing))]
            made, fd = [], os.dup(spot.parent)
            try:
                for count, name in enumerate(spot.missing, 1):
                    os.mkdir(name, mode, dir_fd=fd)
                    fd, above = os.open(name, _DIR & ~os.O_PATH, dir_fd=fd), fd
                    os.close(above)
                    _dress(fd, mode, owner)
                    made.append(base + "/".join(spot.missing[:count]))
            finally:
                os.close(fd)
        self.set_times(made, time_ns)
        return made

    def set_times(self, made: list[str], time_ns: int | None) -> None:
        """Give directories made by us their time, innermost first (each child changes its parent)."""
        if time_ns is None:
            return
        for path in reversed(made):
            with self.find(path, follow=False) as spot:
                os.utime(spot.name, ns=(time_ns, time_ns), dir_fd=spot.parent, follow_symlinks=False)


def _dress(fd: int, mode: int, owner: tuple[int, int] | None) -> None:
    os.fchown(fd, *(owner or (0, 0)))
    os.fchmod(fd, mode)


def _parts(path: str) -> list[str]:
    """Components in reverse, to be popped; empty ones and `.` left out."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _rewind(fds: list[int], names: list[str]) -> None:
    while len(fds) > 1:
        os.close(fds.pop())
    names.clear()


def _absent(parent: int, names: list[str], part: str, todo: list[str]) -> Spot:
    """What does not exist can't be a symlink: the rest is resolved as text, and never above the first missing name."""
    missing = [part]
    for rest in reversed(todo):
        if rest == "..":
            if len(missing) == 1:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/" + "/".join([*names, *missing]))
            missing.pop()
        else:
            missing.append(rest)
    return Spot(parent, part, "/".join([*names, *missing]), None, tuple(missing))
