"""Modes as chmod(1) writes them: `755`, `u+x`, `go-w`, `a=rX`, several joined by commas (POSIX chmod; umask 0)."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass

from shared.errors import InvalidInput

__all__ = ["ModeChange", "apply_mode", "parse_mode"]

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_SHIFT = {"u": 6, "g": 3, "o": 0}
_BITS = {"r": 4, "w": 2, "x": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModeChange:
    """One action: for classes `who`, `op` (`+`, `-`, `=`) the permissions `what` (letters, or one class to copy from)."""

    who: str
    op: str
    what: str


def parse_mode(text: str) -> int | tuple[ModeChange, ...]:
    """An absolute mode, or a list of changes. Errors: InvalidInput."""
    if re.fullmatch(r"0*[0-7]{1,4}", text):
        return int(text, 8)
    changes: list[ModeChange] = []
    for clause in text.split(","):
        found = _CLAUSE.fullmatch(clause)
        if found is None:
            raise InvalidInput(f"invalid mode {text[:100]!r}")
        who = "ugo" if not found[1] or "a" in found[1] else found[1]
        changes += [ModeChange(who=who, op=op, what=what) for op, what in _ACTION.findall(found[2])]
    return tuple(changes)


def apply_mode(change: int | tuple[ModeChange, ...], mode: int) -> int:
    """The permission bits (with setuid, setgid, sticky) that a file of `mode` (with its type) gets."""
    if isinstance(change, int):
        return change
    bits = stat.S_IMODE(mode)
    for one in change:
        bits = _apply(one, bits, stat.S_ISDIR(mode))
    return bits


def _apply(change: ModeChange, bits: int, directory: bool) -> int:
    mask, value = 0, 0
    for who in change.who:
        shift = _SHIFT[who]
        mask |= 7 << shift
        value |= _permissions(change.what, bits, directory) << shift
    value |= _special(change)
    match change.op:
        case "+":
            return bits | value
        case "-":
            return bits & ~value
        case _:
            mask |= stat.S_ISVTX if "o" in change.who else 0
            if not directory:  # chmod keeps the set-id bits of directories unless they are named
                mask |= (stat.S_ISUID if "u" in change.who else 0) | (stat.S_ISGID if "g" in change.who else 0)
            return (bits & ~mask) | value


def _permissions(what: str, bits: int, directory: bool) -> int:
    if what in _SHIFT and what:
        return bits >> _SHIFT[what] & 7
    value = sum(_BITS[letter] for letter in set(what) & _BITS.keys())
    if "X" in what and (directory or bits & 0o111):
        value |= 1
    return value


def _special(change: ModeChange) -> int:
    value = 0
    if "s" in change.what:
        value |= (stat.S_ISUID if "u" in change.who else 0) | (stat.S_ISGID if "g" in change.who else 0)
    if "t" in change.what:
        value |= stat.S_ISVTX
    return value
