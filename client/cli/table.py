"""Columns of text."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence


def table(rows: Iterable[Sequence[str]]) -> str:
    """Left-aligned, two spaces apart, no trailing blanks."""
    lines = [list(row) for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines)


def age(seconds: float, *, now: float | None = None) -> str:
    """`12 minutes ago` of a time since the epoch; empty for 0."""
    if not seconds:
        return ""
    passed = max((time.time() if now is None else now) - seconds, 0)
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        count = int(passed // size)
        if count:
            return f"{count} {name}{'s' if count > 1 else ''} ago"
    return f"{int(passed)} seconds ago"
