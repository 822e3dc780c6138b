"""The table of ratios, and the page that keeps the last one."""

import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from os import cpu_count
from pathlib import Path
from statistics import median
from typing import Final

from tests.bench.side import Figures

BEGIN: Final = "<!-- the last run of `make bench ARGS=--write` -->"
END: Final = "<!-- end -->"
HEAD: Final = (
    "| scenario | buildkitd s | buildmeshd s | ratio | CPU s | CPU ratio | peak MB, theirs | ours |\n"
    "|---|---:|---:|---:|---:|---:|---:|---:|\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Measurements of both sides in one scenario; `failure` when a side could not do it."""

    title: str
    theirs: Sequence[Figures]
    ours: Sequence[Figures]
    failure: str = ""


def ratio(ours: float, theirs: float) -> str:
    return f"{ours / theirs:.2f}" if theirs >= 0.02 else "–"


def line(row: Row) -> str:
    """One line of the table: medians of time, maxima of memory."""
    cells = [row.title]
    if not row.ours or not row.theirs:
        known = f"{median(f.wall for f in row.theirs):.2f}" if row.theirs else "–"
        why = f"failed: {short(row.failure)}" if row.failure else "–"
        return f"| {row.title} | {known} | {why} | – | – | – | – | – |\n"
    wall = [median(figures.wall for figures in side) for side in (row.theirs, row.ours)]
    cpu = [median(figures.cpu for figures in side) for side in (row.theirs, row.ours)]
    peak = [max(figures.peak for figures in side) / 1e6 for side in (row.theirs, row.ours)]
    cells += [f"{wall[0]:.2f}", f"{wall[1]:.2f}", f"**{ratio(wall[1], wall[0])}**", f"{cpu[1]:.2f}", ratio(cpu[1], cpu[0])]
    return f"| {' | '.join(cells)} | {peak[0]:.0f} | {peak[1]:.0f} |\n"


def short(text: str) -> str:
    lines = [part for part in text.splitlines() if part.strip()]
    return (lines[-1] if lines else "?").replace("|", "/")[:120]


def table(rows: Sequence[Row]) -> str:
    return HEAD + "".join(line(row) for row in rows)


def heading(rounds: int, repository: Path) -> str:
    """When, which commit, on what."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=repository, capture_output=True, text=True, check=False, timeout=10
    ).stdout.strip()
    return f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit or 'unknown'}, {cpu_count()} cores, {rounds} pairs\n"


def write(page: Path, text: str) -> None:
    """Puts the table between the marks of docs/measuring.md."""
    old = page.read_text()
    block = f"{BEGIN}\n{text}{END}"
    page.write_text(re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: block, old, flags=re.DOTALL))


def as_json(rows: Sequence[Row]) -> list[Mapping[str, object]]:
    """Every single measurement, for those who want to reckon otherwise."""
    return [
        {"title": row.title, "failure": row.failure}
        | {side: [[f.wall, f.cpu, f.peak] for f in figures] for side, figures in (("theirs", row.theirs), ("ours", row.ours))}
        for row in rows
    ]
