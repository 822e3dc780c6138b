"""The entry of a cache mount under any interleaving of steps, snapshots, prunes and losses on several executors."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shared.model import Digest, KeptMount, Layer


def content(turn: int) -> tuple[Layer, ...]:
    digest = Digest(f"sha256:{turn:064x}")
    return (Layer(digest=digest, diff_id=digest, size=turn, media_type=""),)


class Mounts(RuleBasedStateMachine):
    """The model remembers which snapshots have arrived, and what was emptied when."""

    def __init__(self) -> None:
        super().__init__()
        self.entry = KeptMount(epoch="e")
        self.making: list[int] = []  # turns whose snapshot is on its way
        self.arrived: set[int] = set()
        self.emptied = 0

    @rule()
    def a_step_ends_well(self) -> None:
        before = self.entry.turn
        self.entry = self.entry.drawn()
        assert self.entry.turn == before + 1
        self.making.append(self.entry.turn)

    @rule(pick=st.integers(0, 50))
    def a_snapshot_is_ready(self, pick: int) -> None:
        """In any order; one that was told of may be told of again."""
        if not self.making:
            return
        turn = self.making[pick % len(self.making)]
        after = self.entry.with_snapshot(turn, content(turn), mode=0o755, uid=0, gid=0)
        if after is not None:
            self.arrived.add(turn)
            self.entry = after

    @rule(pick=st.integers(0, 50))
    def a_snapshot_is_given_up(self, pick: int) -> None:
        if self.making:
            self.entry = self.entry.given_up(self.making.pop(pick % len(self.making))) or self.entry

    @rule(lease=st.sampled_from(["", "one", "two"]))
    def all_begin_anew(self, lease: str) -> None:
        again = bool(lease) and self.entry.emptied_by == lease
        after = self.entry.anew(lease)
        assert (after is None) == again
        if after is not None:
            self.entry = after
            self.emptied = after.turn

    @rule()
    def its_blobs_are_lost(self) -> None:
        after = self.entry.lost(self.entry.kept)
        if after is not None:
            self.arrived.discard(self.entry.kept)
            self.arrived = {turn for turn in self.arrived if turn > self.entry.kept}
            self.entry = after

    @invariant()
    def the_newest_that_arrived_is_kept(self) -> None:
        expected = max((turn for turn in self.arrived if turn > self.emptied), default=0)
        assert self.entry.kept == expected
        assert self.entry.layers == (content(expected) if expected else ())

    @invariant()
    def nobody_awaits_what_came(self) -> None:
        assert max(self.entry.kept, self.entry.emptied) <= self.entry.settled <= self.entry.turn
        assert KeptMount(epoch="x", turn=3).with_snapshot(4, (), mode=0, uid=0, gid=0) is None, "a turn that nobody drew"


TestMounts = Mounts.TestCase
TestMounts.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
