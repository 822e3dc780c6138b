"""Columns as Go's text/tabwriter aligns them: a column is as wide as its widest cell in adjoining lines."""

from collections.abc import Sequence


def table(text: str, padding: int) -> str:
    """`text` with tab-terminated cells, padded with spaces. The last cell of a line belongs to no column."""
    lines = [line.split("\t") for line in text.split("\n")]
    widths: list[list[int]] = [[] for _ in lines]
    _measure(lines, widths, range(len(lines)), 0, padding)
    return "\n".join(_padded(cells, w) for cells, w in zip(lines, widths, strict=True))


def _measure(lines: Sequence[Sequence[str]], widths: list[list[int]], rows: Sequence[int], column: int, padding: int) -> None:
    block: list[int] = []
    for row in [*rows, -1]:
        if row >= 0 and column < len(lines[row]) - 1:
            block.append(row)
            continue
        if block:
            width = max(len(lines[r][column]) for r in block) + padding
            for r in block:
                widths[r].append(width)
            _measure(lines, widths, block, column + 1, padding)
            block = []


def _padded(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, widths, strict=False)]
    return "".join(padded) + (cells[-1] if cells else "")
