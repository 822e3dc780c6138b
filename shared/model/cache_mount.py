"""What a fleet knows of one cache mount: whose content is the newest, and where a snapshot of it can be had (docs/adr/0055).

Each step that ends well draws a turn; a snapshot carries the turn of its step. Whoever changes an entry writes it only if it is still the
one that was read, so an older snapshot never takes the place of a newer one, whichever of them is ready first.
"""

from dataclasses import dataclass, replace

from shared.model.ref import Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptMount:
    """One cache mount. Turns count steps that ended well and changed something.

    `epoch` is drawn when the entry is made: turns of different epochs can't be compared. `settled`: of this turn and those before it no
    snapshot is awaited any more. `kept` is the turn of the snapshot (0 = there is none), `layers` its content; `mode`, `uid`, `gid` of its
    top directory. What belongs to `emptied` or an earlier turn is no longer wanted; `emptied_by` is the lease that began anew.
    `changed_at` in ns since the epoch.
    """

    epoch: str
    turn: int = 0
    settled: int = 0
    kept: int = 0
    layers: tuple[Layer, ...] = ()
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    emptied: int = 0
    emptied_by: str = ""
    changed_at: int = 0

    @property
    def awaited(self) -> bool:
        """A newer snapshot is on its way."""
        return self.settled < self.turn

    @property
    def size(self) -> int:
        """Bytes of its blobs."""
        return sum(layer.size for layer in self.layers)

    def drawn(self) -> "KeptMount":
        """A step has ended well: `turn` of the answer is its turn."""
        return replace(self, turn=self.turn + 1)

    def with_snapshot(self, turn: int, layers: tuple[Layer, ...], *, mode: int, uid: int, gid: int) -> "KeptMount | None":
        """The snapshot of `turn` is there; None when a newer one is, or when all began anew since."""
        if turn <= max(self.kept, self.emptied) or turn > self.turn:
            return None
        return replace(self, kept=turn, settled=max(self.settled, turn), layers=layers, mode=mode, uid=uid, gid=gid)

    def given_up(self, turn: int) -> "KeptMount | None":
        """No snapshot of `turn` will come; None when nobody awaits it."""
        return replace(self, settled=min(turn, self.turn)) if self.settled < min(turn, self.turn) else None

    def lost(self, turn: int) -> "KeptMount | None":
        """The blobs of the snapshot of `turn` are gone; None when it is another one by now."""
        return replace(self, kept=0, layers=()) if turn and self.kept == turn else None

    def anew(self, lease: str = "") -> "KeptMount | None":
        """Empty from now on; None when this lease has done so already."""
        if lease and lease == self.emptied_by:
            return None
        turn = self.turn + 1
        return replace(self, turn=turn, settled=turn, kept=0, layers=(), emptied=turn, emptied_by=lease)
