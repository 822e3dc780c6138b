"""File modes on the wire are Go's os.FileMode, not st_mode (reference: io/fs FileMode, fsutil stat.go)."""

from __future__ import annotations

import stat
from typing import Final

DIR: Final = 1 << 31
SYMLINK: Final = 1 << 27
DEVICE: Final = 1 << 26
NAMED_PIPE: Final = 1 << 25
SOCKET: Final = 1 << 24
SETUID: Final = 1 << 23
SETGID: Final = 1 << 22
CHAR_DEVICE: Final = 1 << 21
STICKY: Final = 1 << 20
IRREGULAR: Final = 1 << 19
TYPE: Final = DIR | SYMLINK | NAMED_PIPE | SOCKET | DEVICE | CHAR_DEVICE | IRREGULAR
PERMISSIONS: Final = 0o777

_TYPE_TO_GO: Final = {
    stat.S_IFREG: 0,
    stat.S_IFDIR: DIR,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFBLK: DEVICE,
    stat.S_IFCHR: DEVICE | CHAR_DEVICE,
    stat.S_IFIFO: NAMED_PIPE,
    stat.S_IFSOCK: SOCKET,
}
_TYPE_TO_UNIX: Final = {go: unix for unix, go in _TYPE_TO_GO.items()}


def to_go(st_mode: int) -> int:
    """os.FileMode of an st_mode."""
    mode = _TYPE_TO_GO.get(stat.S_IFMT(st_mode), IRREGULAR) | (st_mode & PERMISSIONS)
    if st_mode & 0o7000:
        mode |= SETUID if st_mode & stat.S_ISUID else 0
        mode |= SETGID if st_mode & stat.S_ISGID else 0
        mode |= STICKY if st_mode & stat.S_ISVTX else 0
    return mode


def to_unix(mode: int) -> int:
    """st_mode of an os.FileMode. Raises ValueError for a combination of type bits that names no file type."""
    kind = _TYPE_TO_UNIX.get(mode & TYPE)
    if kind is None:
        raise ValueError(f"file mode {mode:#x} has no known type")
    return kind | permissions(mode)


def permissions(mode: int) -> int:
    """The twelve bits for chmod."""
    bits = mode & PERMISSIONS
    if mode & (SETUID | SETGID | STICKY):
        bits |= stat.S_ISUID if mode & SETUID else 0
        bits |= stat.S_ISGID if mode & SETGID else 0
        bits |= stat.S_ISVTX if mode & STICKY else 0
    return bits


def is_regular(mode: int) -> bool:
    """Whether contents can be asked for: no type bit at all (send.go fileCanRequestData)."""
    return not mode & TYPE
