"""Mounts of snapshots, shared by those who need the same one at the same time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from services.executor.adapters import overlayfs, syscalls

__all__ = ["MountPlan", "Mounts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPlan:
    """How to see a tree: `direct` is the directory itself; else an overlay of `lowers` (topmost first) and perhaps an upper one."""

    direct: str = ""
    lowers: tuple[str, ...] = ()
    upper: str = ""
    work: str = ""


@dataclass(slots=True)
class _Entry:
    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    path: str = ""
    mounted: bool = False


class Mounts:
    """Mount points below one directory, one for each (snapshot, writable) in use."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = threading.Lock()
        self._entries: dict[tuple[str, bool], _Entry] = {}
        self._numbers = 0
        root.mkdir(mode=0o711, exist_ok=True)
        for left in root.iterdir():
            syscalls.detach(str(left))
            left.rmdir()

    @contextmanager
    def use(self, name: tuple[str, bool], plan: MountPlan) -> Iterator[str]:
        """The path where the plan is mounted, for as long as the context is open."""
        with self._lock:
            entry = self._entries.setdefault(name, _Entry())
            entry.users += 1
        try:
            with entry.lock:
                if not entry.path:
                    self._open(entry, plan)
            yield entry.path
        finally:
            self._leave(name, entry)

    def _open(self, entry: _Entry, plan: MountPlan) -> None:
        if plan.direct:
            entry.path = plan.direct
            return
        with self._lock:
            self._numbers += 1
            path = str(self._root / str(self._numbers))
        os.mkdir(path, 0o700)
        try:
            overlayfs.mount_overlay(path, plan.lowers, plan.upper, plan.work)
        except BaseException:
            os.rmdir(path)
            raise
        entry.path, entry.mounted = path, True

    def _leave(self, name: tuple[str, bool], entry: _Entry) -> None:
        with entry.lock:  # whoever comes meanwhile waits here, and then mounts anew
            with self._lock:
                entry.users -= 1
                if entry.users:
                    return
            path, mounted = entry.path, entry.mounted
            entry.path, entry.mounted = "", False
            if mounted:
                syscalls.detach(path)
                os.rmdir(path)
        with self._lock:
            if not entry.users and self._entries.get(name) is entry:
                del self._entries[name]

    def count(self, id: str) -> int:
        """How many use a mount of this snapshot."""
        with self._lock:
            entries = (self._entries.get((id, writable)) for writable in (False, True))
            return sum(entry.users for entry in entries if entry is not None)

    def active(self) -> int:
        """How many mounts there are."""
        with self._lock:
            return len(self._entries)

    def close(self) -> None:
        """Unmount everything, users or not."""
        with self._lock:
            entries = list(self._entries.values())
            self._entries.clear()
        for entry in entries:
            if entry.mounted:
                syscalls.detach(entry.path)
