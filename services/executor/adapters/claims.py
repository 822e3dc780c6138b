"""Claiming and mounting a directory from a thread, so that a cancel at any instant leaves it with nobody."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ParamSpec

from services.executor.core.snapshots import Snapshot
from services.executor.ports import SnapshotStore
from shared.blobs.threads import Pool

__all__ = ["claimed", "mounted", "seen"]

P = ParamSpec("P")


async def claimed(threads: Pool, store: SnapshotStore, call: Callable[P, Snapshot], *args: P.args, **kwargs: P.kwargs) -> Snapshot:
    """The snapshot that `call` (the store's `prepare`, or something that ends in its `claim`) claims for us; the caller gives it back.

    A cancellation while the call runs, or in the instant between its end and ours, gives it back here.
    """
    return await threads.take(lambda snapshot: store.unclaim(snapshot.id), call, *args, **kwargs)


@asynccontextmanager
async def mounted(threads: Pool, store: SnapshotStore, snapshot: Snapshot) -> AsyncIterator[Path]:
    """Where a mutable snapshot can be written to, for the length of the block."""
    mount = store.mount(snapshot.id, writable=True)
    path = await threads.take(lambda _: mount.__exit__(None, None, None), mount.__enter__)
    try:
        yield Path(path)
    finally:
        await threads.finish(mount.__exit__, None, None, None)


@asynccontextmanager
async def seen(threads: Pool, store: SnapshotStore, id: str) -> AsyncIterator[str]:
    """Where the tree of a snapshot can be read, which meanwhile isn't removed."""
    mount = store.mount(id)
    path = await threads.take(lambda _: mount.__exit__(None, None, None), mount.__enter__)
    try:
        yield path
    finally:
        await threads.finish(mount.__exit__, None, None, None)
