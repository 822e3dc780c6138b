"""Which entries may follow each other: the rules both sides check (fsutil validator.go, hardlinks.go)."""

from __future__ import annotations

import re
from typing import Final

from shared.fsutil import mode as modes
from shared.fsutil.packets import Malformed, Stat

# an empty component (also at either end), `.` or `..`, or a NUL anywhere
_UNCLEAN: Final = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)|\x00")
MAX_PATH: Final = 4096


def sort_key(path: str) -> str:
    """Sorts paths as the protocol wants them: by component, so that `/` comes before any other byte (ComparePath).

    Surrogate escapes sort as the bytes they stand for only among themselves; `Validator` compares bytes.
    """
    return path.replace("/", "\0")


def byte_key(path: str) -> bytes:
    return path.encode("utf-8", "surrogateescape").replace(b"/", b"\0")


def check_path(path: str) -> None:
    """Relative, clean, without `..`. Raises Malformed naming the path."""
    if _UNCLEAN.search(path) or len(path) > MAX_PATH:
        raise Malformed(f"invalid path {path[:200]!r}")


class Validator:
    """Raises Malformed for an entry out of order, without its parent, or linked to what did not come before."""

    __slots__ = ("_directories", "_files", "_last")

    def __init__(self) -> None:
        self._last = b""
        self._directories: set[str] = {""}
        self._files: set[str] = set()

    def check(self, stat: Stat) -> None:
        path, mode = stat.path, stat.mode
        check_path(path)
        key = path.encode("utf-8", "surrogateescape").replace(b"/", b"\0")
        if key <= self._last:
            raise Malformed(f"changes out of order: {path[:200]!r}")
        if path[: max(path.rfind("/"), 0)] not in self._directories:
            raise Malformed(f"changes out of order: parent of {path[:200]!r} is missing")
        self._last = key
        if mode & modes.DIR:
            self._directories.add(path)
        elif not mode & modes.SYMLINK:
            if not stat.linkname:
                self._files.add(path)
            elif stat.linkname not in self._files:
                raise Malformed(f"invalid link {path[:200]!r} to unknown path: {stat.linkname[:200]!r}")
