"""Writes batches of steps by two threads at most: making an entry is nearly all kernel time, so a second core halves it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Final

from shared.fsutil.receiver import MakeEntry, Step, WriteFile
from shared.session.tree_writer import TreeWriter

_WORTH_SPLITTING: Final = 64


class BatchWriter:
    """Two TreeWriters on one folder, each with descriptors of its own. `apply` and `close` block; call them in `threads`."""

    def __init__(self, root: str | os.PathLike[str], *, threads: Executor, owner: tuple[int, int] | None = None) -> None:
        self._threads = threads
        self._first = TreeWriter(root, owner=owner)
        self._second = TreeWriter(root, owner=owner)

    def apply(self, steps: Sequence[Step]) -> None:
        """Directories and other entries first, then whole files, then what may depend on those; each kind in its order."""
        files = [step for step in steps if isinstance(step, WriteFile)]
        self._first.apply(step for step in steps if isinstance(step, MakeEntry))
        if len(files) < _WORTH_SPLITTING:
            self._first.apply(files)
        else:
            self._in_two(files)
        self._first.apply(step for step in steps if not isinstance(step, (MakeEntry, WriteFile)))

    def _in_two(self, files: list[WriteFile]) -> None:
        half = len(files) // 2
        other = self._threads.submit(self._second.apply, files[half:])
        try:
            self._first.apply(files[:half])
        finally:
            # a pool without a free thread must not wait for itself
            if other.cancel():
                self._second.apply(files[half:])
            else:
                other.result()

    def close(self) -> None:
        """Waits for what is being written. Idempotent."""
        self._first.close()
        self._second.close()
