"""What a process tree costs: its peak memory, and the CPU time it has used."""

import os
import threading
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import Final, Self

INTERVAL: Final = 0.2
"""Seconds between two looks; each look reads a few files of every process of the machine."""

TICKS: Final = os.sysconf("SC_CLK_TCK")


def stat_fields(pid: int) -> list[str]:
    """/proc/PID/stat after the command's name: state first, then the parent's id. Empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def tree(root: int) -> list[int]:
    """`root` and all its descendants."""
    children: defaultdict[int, list[int]] = defaultdict(list)
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := stat_fields(int(entry))):
            children[int(fields[1])].append(int(entry))
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def proportional_size(pid: int) -> int:
    """Bytes of memory, shared pages divided among those who share them."""
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:")), 0)


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of the children it has waited for."""
    fields = stat_fields(pid)
    return sum(int(field) for field in fields[11:15]) / TICKS if fields else 0.0


def cpu_split(pid: int) -> tuple[float, float]:
    """Seconds of a process itself, and of the children it has waited for."""
    times = [int(field) / TICKS for field in stat_fields(pid)[11:15]] or [0.0] * 4
    return times[0] + times[1], times[2] + times[3]


class PeakMemory:
    """Looks at a process tree from a thread while a block runs; `peak` in bytes."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)
        self.peak = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join(10)
        self._look()

    def _watch(self) -> None:
        while not self._done.wait(INTERVAL):
            self._look()

    def _look(self) -> None:
        self.peak = max(self.peak, sum(proportional_size(pid) for pid in tree(self._root)))
