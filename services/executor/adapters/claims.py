"""Claiming a directory from a thread, so that a cancel at any instant leaves it with nobody."""

from collections.abc import Callable
from typing import ParamSpec

from services.executor.core.snapshots import Snapshot
from services.executor.ports import SnapshotStore
from shared.blobs.threads import Pool

__all__ = ["claimed"]

P = ParamSpec("P")


async def claimed(threads: Pool, store: SnapshotStore, call: Callable[P, Snapshot], *args: P.args, **kwargs: P.kwargs) -> Snapshot:
    """The snapshot that `call` (the store's `prepare`, or something that ends in its `claim`) claims for us; the caller gives it back.

    A cancellation while the call runs, or in the instant between its end and ours, gives it back here.
    """
    return await threads.take(lambda snapshot: store.unclaim(snapshot.id), call, *args, **kwargs)
