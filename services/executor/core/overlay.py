"""The text of overlay mount options (kernel Documentation/filesystems/overlayfs.rst)."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["PAGE_BUDGET", "mount_options"]

# mount(2) takes one page of options; BuildKit leaves the same margin (snapshot/localmounter).
PAGE_BUDGET = 3584


def mount_options(lowers: Sequence[str], upper: str = "", work: str = "") -> str:
    """`lowerdir=…,upperdir=…,workdir=…` with the characters escaped that separate paths and options."""
    parts = ["lowerdir=" + ":".join(_escape(path, ":") for path in lowers)]
    if upper:
        parts += ["upperdir=" + _escape(upper), "workdir=" + _escape(work), "volatile"]
    return ",".join([*parts, "index=off", "redirect_dir=off", "metacopy=off"])


def _escape(path: str, extra: str = "") -> str:
    for char in "\\," + extra:
        path = path.replace(char, "\\" + char)
    return path
