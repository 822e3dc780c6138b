"""Which blobs may go: those that nothing speaks of, and that no running build can be about to speak of."""

from collections.abc import Collection, Iterable

from shared.model import Digest


class BlobSweep:
    """Decides from what is present and what is live.

    `patient`: with other processes about, a blob may have been put a moment before whoever put it says so; then a blob goes only when
    it was unspoken of at the sweep before, too. Alone in one process, the leases of running builds tell all.
    """

    def __init__(self, *, patient: bool) -> None:
        self._patient = patient
        self._suspects: frozenset[Digest] = frozenset()

    def doomed(self, present: Iterable[Digest], live: Collection[Digest], *, builds_running: bool) -> tuple[Digest, ...]:
        """In the order of `present`. Nothing while builds run."""
        if builds_running:
            self._suspects = frozenset()
            return ()
        unspoken = tuple(d for d in present if d not in live)
        if not self._patient:
            return unspoken
        doomed = tuple(d for d in unspoken if d in self._suspects)
        self._suspects = frozenset(unspoken) - frozenset(doomed)
        return doomed
