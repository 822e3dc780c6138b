"""A cgroup for the steps of one executor, made and removed with it.

Its own, so that executors of one machine that come and go do not remove from under each other what their runtimes are about to use.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from services.executor.core.spec import cgroups_path

__all__ = ["own_cgroup"]

_ROOT = Path("/sys/fs/cgroup")


@contextmanager
def own_cgroup(parent: str, home: str, *, root: Path = _ROOT) -> Iterator[str]:
    """`parent`/`home` below each hierarchy, to be given to steps as their parent. At the end both go, `parent` only with its last child."""
    mine = f"{parent.rstrip('/')}/{home}"
    steps = cgroups_path(mine, "").rstrip("/")
    places = _hierarchies(root)
    for place in places:
        _make(place / mine.lstrip("/"))
    try:
        yield mine
    finally:
        for place in places:
            for path in (steps, mine, parent):
                with suppress(OSError):  # somebody is in it, or it was never there
                    (place / path.strip("/")).rmdir()


def _hierarchies(root: Path) -> list[Path]:
    """One with cgroup v2, one for each controller with v1."""
    if (root / "cgroup.controllers").exists():
        return [root]
    return [place for place in root.iterdir() if place.is_dir() and not place.is_symlink()]


def _make(path: Path) -> None:
    """Another executor may remove the parent, as its last child, at this very moment."""
    for _ in range(10):
        with suppress(FileNotFoundError):
            os.makedirs(path, exist_ok=True)
            return
