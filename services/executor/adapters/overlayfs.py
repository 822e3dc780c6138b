"""Overlay mounts of layer directories, and the finding of mounts that a killed process left behind."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence

from services.executor.adapters import syscalls
from services.executor.core.overlay import PAGE_BUDGET, mount_options

__all__ = ["clear_leftover_mounts", "mount_overlay", "overlay_works"]

_log = logging.getLogger(__name__)


def mount_overlay(target: str, lowers: Sequence[str], upper: str = "", work: str = "") -> None:
    """Mount `lowers` (topmost first) with `upper` at `target`; read-only without an upper directory.

    `work` is emptied first: the `volatile` option (no fsync per file, the tree is committed as a whole) marks it as used.
    The newer mount calls take any number of layers up to the kernel's 500; before Linux 6.8 the old call is used, and where its
    options would not fit in a page the directories are named by descriptors (BuildKit mounts those in the daemon as well).
    """
    if upper:
        _fresh(work)
    try:
        _attach(target, list(lowers), upper, work)
    except OSError as error:
        if not upper and len(lowers) < 2:
            raise
        _log.debug("fsopen overlay failed (%s), falling back to mount(2)", error)
        _mount_by_options(target, lowers, upper, work)


def _attach(target: str, lowers: list[str], upper: str, work: str) -> None:
    options = {"source": "buildmesh", "index": "off", "redirect_dir": "off", "metacopy": "off"}
    if upper:
        options["volatile"] = ""
    fd = syscalls.overlay_fd(lowers, upper, work, options=options)
    try:
        syscalls.move_mount(fd, target)
    finally:
        os.close(fd)


def _mount_by_options(target: str, lowers: Sequence[str], upper: str, work: str) -> None:
    text = mount_options(lowers, upper, work)
    if len(text) <= PAGE_BUDGET:
        syscalls.mount("buildmesh", target, "overlay", 0, text)
        return
    fds = [os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for path in lowers]
    try:
        text = mount_options([f"/proc/self/fd/{fd}" for fd in fds], upper, work)
        syscalls.mount("buildmesh", target, "overlay", 0, text)
    finally:
        for fd in fds:
            os.close(fd)


def _fresh(work: str) -> None:
    if os.path.isdir(work) and os.listdir(work):
        shutil.rmtree(work)
    os.makedirs(work, mode=0o700, exist_ok=True)


def overlay_works(root: str) -> bool:
    """Whether an overlay with an upper directory below `root` can be mounted, and really shows the lower layer."""
    probe = os.path.join(root, ".overlay-probe")
    shutil.rmtree(probe, ignore_errors=True)
    low, up, work, at = (os.path.join(probe, name) for name in ("low", "up", "work", "at"))
    for path in (low, up, work, at):
        os.makedirs(path)
    os.close(os.open(os.path.join(low, "seen"), os.O_CREAT | os.O_WRONLY, 0o600))
    try:
        mount_overlay(at, [low], up, work)
    except OSError as error:
        _log.info("overlayfs can't be used below %s: %s", root, error)
        return False
    else:
        seen = os.path.exists(os.path.join(at, "seen"))
        syscalls.unmount(at)
        return seen
    finally:
        shutil.rmtree(probe, ignore_errors=True)


def clear_leftover_mounts(root: str) -> int:
    """Unmount whatever an earlier process left mounted below `root`, innermost first; returns how many there were."""
    prefix = os.path.realpath(root) + "/"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        points = [_unescape(line.split(" ")[4]) for line in table]
    mine = [point for point in points if point.startswith(prefix)]
    return sum(syscalls.detach(point) for point in reversed(mine))


def _unescape(text: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, char)
    return text
