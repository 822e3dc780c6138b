"""Linux calls that Python's os lacks: mount and its newer family, openat2, unshare, setns.

Each raises OSError with the path in question. Numbers: include/uapi/asm-generic/unistd.h; structs: include/uapi/linux/{mount,openat2}.h.
"""

from __future__ import annotations

import ctypes
import os
from enum import IntFlag

__all__ = [
    "MountFlag",
    "Resolve",
    "bind",
    "detach",
    "mount",
    "move_mount",
    "openat2",
    "overlay_fd",
    "setns",
    "unmount",
    "unshare",
]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]
_libc.umount2.argtypes = [ctypes.c_char_p, ctypes.c_int]
_libc.syscall.restype = ctypes.c_long
# Keeps the interpreter while it calls: for what takes microseconds, of which there are many. Giving it up each time means to wait for it
# each time, up to 5 ms: with a busy loop beside it, an overlay of a hundred layers took 0.33 s to mount (now 0.11).
_quick = ctypes.PyDLL(None, use_errno=True)
_quick.syscall.restype = ctypes.c_long

_MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _OPENAT2 = 429, 430, 431, 432, 437
_FSCONFIG_SET_FLAG, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 0, 1, 6
_CLOEXEC = 1  # FSOPEN_CLOEXEC and FSMOUNT_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 4
_MNT_DETACH, _UMOUNT_NOFOLLOW = 2, 8
CLONE_NEWNET = 0x40000000


class MountFlag(IntFlag):
    """MS_* of mount(2)."""

    RDONLY = 1
    NOSUID = 2
    NODEV = 4
    NOEXEC = 8
    REMOUNT = 32
    BIND = 4096
    MOVE = 8192
    REC = 16384
    PRIVATE = 1 << 18
    SLAVE = 1 << 19


class Resolve(IntFlag):
    """RESOLVE_* of openat2(2)."""

    NO_XDEV = 1
    NO_MAGICLINKS = 2
    NO_SYMLINKS = 4
    BENEATH = 8
    IN_ROOT = 16


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def _error(path: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number), path)


def mount(source: str, target: str, fstype: str, flags: int = 0, data: str = "") -> None:
    """mount(2); `data` must stay below a page."""
    packed = os.fsencode(data) if data else None
    if _libc.mount(os.fsencode(source), os.fsencode(target), fstype.encode() or None, int(flags), packed) != 0:
        raise _error(target)


def bind(source: str, target: str, *, flags: int = 0, recursive: bool = False) -> None:
    """Bind `source` on `target`; `flags` such as RDONLY or NOSUID are set in a second step, as the kernel wants it."""
    base = MountFlag.BIND | (MountFlag.REC if recursive else MountFlag(0))
    mount(source, target, "", base)
    if flags:
        mount("", target, "", MountFlag.BIND | MountFlag.REMOUNT | flags)


def unmount(target: str) -> None:
    """Take the mount off `target`, lazily: busy users keep it until they are done."""
    if _libc.umount2(os.fsencode(target), _MNT_DETACH | _UMOUNT_NOFOLLOW) != 0:
        raise _error(target)


def detach(target: str) -> bool:
    """Like unmount, but False when nothing is mounted there (or nothing is there at all)."""
    return bool(_libc.umount2(os.fsencode(target), _MNT_DETACH | _UMOUNT_NOFOLLOW) == 0)


def _syscall(number: int, path: str, *args: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *args))
    if result < 0:
        raise _error(path)
    return result


def openat2(dir_fd: int, path: str | bytes, flags: int, *, mode: int = 0, resolve: Resolve = Resolve.IN_ROOT) -> int:
    """openat2(2), by default with RESOLVE_IN_ROOT: `path` and each symlink in it is read as if `dir_fd` were the root directory."""
    how = _OpenHow(flags=flags | os.O_CLOEXEC, mode=mode, resolve=int(resolve))
    raw = os.fsencode(path)
    for _ in range(64):
        fd = int(_libc.syscall(ctypes.c_long(_OPENAT2), ctypes.c_int(dir_fd), raw, ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))))
        if fd >= 0:
            return fd
        if ctypes.get_errno() != 11:  # EAGAIN: a rename raced with a `..`; the kernel asks to try again
            break
    raise _error(os.fsdecode(path))


def overlay_fd(lowers: list[str], upper: str = "", work: str = "", *, options: dict[str, str] | None = None) -> int:
    """A detached overlay mount (topmost lower first), made by the fsopen family: no limit on the length of all options together.

    Needs Linux 6.8 (`lowerdir+`); OSError EINVAL or ENOSYS before that. The caller owns the descriptor.
    """
    context = _syscall(_FSOPEN, "overlay", b"overlay", ctypes.c_uint(_CLOEXEC))
    try:
        for lower in lowers:
            _configure(context, "lowerdir+", lower)
        if upper:
            _configure(context, "upperdir", upper)
            _configure(context, "workdir", work)
        for name, value in (options or {}).items():
            _configure(context, name, value)
        _syscall(_FSCONFIG, "overlay", ctypes.c_int(context), ctypes.c_uint(_FSCONFIG_CMD_CREATE), None, None, ctypes.c_int(0))
        return _syscall(_FSMOUNT, "overlay", ctypes.c_int(context), ctypes.c_uint(_CLOEXEC), ctypes.c_uint(0))
    finally:
        os.close(context)


def _configure(context: int, name: str, value: str) -> None:
    if not value:
        args = (ctypes.c_uint(_FSCONFIG_SET_FLAG), name.encode(), None, ctypes.c_int(0))
    else:
        args = (ctypes.c_uint(_FSCONFIG_SET_STRING), name.encode(), os.fsencode(value), ctypes.c_int(0))  # type: ignore[assignment]
    if _quick.syscall(ctypes.c_long(_FSCONFIG), ctypes.c_int(context), *args) < 0:
        raise _error(value or name)


def move_mount(fd: int, target: str) -> None:
    """Attach the detached mount `fd` at `target`."""
    flags = ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH)
    _syscall(_MOVE_MOUNT, target, ctypes.c_int(fd), b"", ctypes.c_int(-100), os.fsencode(target), flags)


def unshare(flags: int) -> None:
    """unshare(2) for the calling thread."""
    if _libc.unshare(ctypes.c_int(flags)) != 0:
        raise _error("unshare")


def setns(fd: int, kind: int) -> None:
    """setns(2) for the calling thread."""
    if _libc.setns(ctypes.c_int(fd), ctypes.c_int(kind)) != 0:
        raise _error("setns")
