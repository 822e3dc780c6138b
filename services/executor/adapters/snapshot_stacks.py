"""What composed snapshots keep beside their layers' directories: skeletons, and layers spelled out (layer_marks.py)."""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterable, Sequence

from services.executor.adapters.layer_marks import Marks, make_skeleton, scan_marks, spell_out
from services.executor.core.snapshots import SKELETON, Layer

__all__ = ["Stacks"]

_NOTE = "overlay.marks.2"


class Stacks:
    """Below a snapshot's directory: `skeleton`, and `explicit` in place of a layer `fs` that has opaque directories."""

    def __init__(
        self, directory: Callable[[str], str], note: Callable[[str, str], bytes | None], set_note: Callable[[str, str, bytes], None]
    ) -> None:
        self._directory = directory
        self._note = note
        self._set_note = set_note
        self._lock = threading.Lock()
        self.skeletons: set[str] = set()
        self._explicit: set[str] = set()

    def load(self, id: str) -> None:
        """Take note of what an earlier process has made for a snapshot."""
        for known, name in ((self.skeletons, "skeleton"), (self._explicit, "explicit")):
            if os.path.isdir(os.path.join(self._directory(id), name)):
                known.add(id)

    def forget(self, id: str) -> None:
        """The snapshot is gone."""
        self.skeletons.discard(id)
        self._explicit.discard(id)

    def place(self, entry: str) -> str:
        """The directory of an entry of a chain."""
        if entry.endswith(SKELETON):
            return os.path.join(self._directory(entry.removesuffix(SKELETON)), "skeleton")
        return os.path.join(self._directory(entry), "explicit" if entry in self._explicit else "fs")

    def compose(self, id: str, layers: Sequence[Layer]) -> None:
        """Let these layers lie anywhere, and make the skeleton that a snapshot of them needs."""
        hiding: set[str] = set()
        with self._lock:
            for layer in layers:
                hiding.update(self._fit(layer).whiteouts)
        self._add_skeleton(id, hiding)

    def compose_own(self, id: str) -> None:
        """The same for a snapshot whose own layer holds deletions."""
        self._add_skeleton(id, scan_marks(self.place(id), ()).whiteouts)

    def _fit(self, layer: Layer) -> Marks:
        """Marks of a layer that may lie anywhere from now on; looked for once."""
        noted = self._note(layer.id, _NOTE)
        if noted is not None:
            return Marks.decode(noted)
        marks = scan_marks(layer.path, layer.lowers)
        if marks.misfit:
            target = os.path.join(self._directory(layer.id), "explicit")
            shutil.rmtree(target + ".new", ignore_errors=True)
            spell_out(layer.path, layer.lowers, target + ".new")
            os.rename(target + ".new", target)
            marks = scan_marks(target, ())
            self._explicit.add(layer.id)
        self._set_note(layer.id, _NOTE, marks.encode())
        return marks

    def _add_skeleton(self, id: str, directories: Iterable[str]) -> None:
        wanted = set(directories) - {""}  # the root is always a merged directory
        if wanted:
            os.makedirs(self._directory(id), mode=0o711, exist_ok=True)
            make_skeleton(os.path.join(self._directory(id), "skeleton"), wanted)
            self.skeletons.add(id)
