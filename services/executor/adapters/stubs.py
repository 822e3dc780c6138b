"""Mount points that the runtime makes in a root file system, and their removal afterwards (executor/stubs.go; reference 06 §7.5).

Without that each layer would hold an empty /etc/hosts and changed directory times.
"""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass

from services.executor.adapters.rooted import Rooted

__all__ = ["Stubs", "find_stubs", "remove_stubs"]

_ALWAYS = ("/etc/resolv.conf", "/etc/hosts")
_GONE = (errno.ENOTEMPTY, errno.ENOENT, errno.ENOTDIR, errno.EBUSY, errno.ELOOP)
_AT_ONCE_NS = 20_000_000  # the runtime makes all mount points of a directory within this time


@dataclass(frozen=True, slots=True, kw_only=True)
class Stubs:
    """`paths` that were not there before the run (innermost first); `times` = atime and mtime of their parents then; `began` ns."""

    paths: tuple[str, ...]
    times: dict[str, tuple[int, int]]
    began: int


def find_stubs(root: Rooted, destinations: Iterable[str], *, recursive: bool) -> Stubs:
    """Which destinations are not there yet, as symlink-free paths; with `recursive` also their missing parents."""
    paths: dict[str, None] = {}
    times: dict[str, tuple[int, int]] = {}
    for destination in (*_ALWAYS, *destinations):
        try:
            with root.find(destination) as spot:
                if spot.info is not None:
                    continue
                parent = os.stat(".", dir_fd=spot.parent)
                times[spot.path[: -len("/".join(spot.missing)) - 1]] = (parent.st_atime_ns, parent.st_mtime_ns)
                path, depth = spot.path, len(spot.missing)
        except OSError:
            continue
        for count in range(depth if recursive else 1):
            paths[path.rsplit("/", count)[0]] = None
    return Stubs(paths=tuple(sorted(paths, key=lambda p: -p.count("/"))), times=times, began=time.time_ns())


def remove_stubs(root: Rooted, stubs: Stubs) -> None:
    """Remove those that are there now and still empty.

    The parent keeps its times; where nothing but the stubs has changed it, it gets back those from before the run.
    """
    made: dict[str, int] = {}
    for path in stubs.paths:
        try:
            _remove(root, path, made)
        except OSError as error:
            if error.errno not in _GONE:
                raise
    for parent, last in made.items():
        if parent in stubs.times:
            _restore(root, parent, last, stubs)


def _remove(root: Rooted, path: str, made: dict[str, int]) -> None:
    with root.find(path, follow=False) as spot:
        if spot.info is None or spot.path != path:
            return
        parent = os.stat(".", dir_fd=spot.parent)
        if spot.is_dir:
            os.rmdir(spot.name, dir_fd=spot.parent)
        elif stat.S_ISREG(spot.info.st_mode) and spot.info.st_size == 0:
            os.unlink(spot.name, dir_fd=spot.parent)
        else:
            return
        os.utime(".", ns=(parent.st_atime_ns, parent.st_mtime_ns), dir_fd=spot.parent)
    above = path.rpartition("/")[0]
    made[above] = max(made.get(above, 0), spot.info.st_mtime_ns)


def _restore(root: Rooted, parent: str, last: int, stubs: Stubs) -> None:
    """Unless the process itself changed the directory, or gave it a time."""
    with root.find(parent, follow=False) as spot:
        if spot.info is None or spot.info.st_mtime_ns < stubs.began - _AT_ONCE_NS:
            return
        if abs(spot.info.st_mtime_ns - last) <= _AT_ONCE_NS:
            os.utime(spot.name, ns=stubs.times[parent], dir_fd=spot.parent, follow_symlinks=False)
