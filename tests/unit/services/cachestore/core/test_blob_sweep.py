"""Which blobs may go."""

from services.cachestore.core.blob_sweep import BlobSweep
from shared.model import Digest

A, B = Digest("sha256:" + "a" * 64), Digest("sha256:" + "b" * 64)


def test_alone_the_unspoken_go_at_once() -> None:
    """Nobody else can be about to use them."""
    assert BlobSweep(patient=False).doomed([A, B], {A}, builds_running=False) == (B,)


def test_while_builds_run_nothing_goes() -> None:
    """A running build may be about to name any blob; what was suspected before is not any more."""
    sweep = BlobSweep(patient=True)
    assert sweep.doomed([A], set(), builds_running=False) == ()
    assert sweep.doomed([A], set(), builds_running=True) == ()
    assert sweep.doomed([A], set(), builds_running=False) == ()


def test_in_a_fleet_a_blob_has_to_be_unspoken_of_twice() -> None:
    """Whoever put it gets the time to say so."""
    sweep = BlobSweep(patient=True)
    assert sweep.doomed([A, B], set(), builds_running=False) == ()
    assert sweep.doomed([A, B], {A}, builds_running=False) == (B,)
