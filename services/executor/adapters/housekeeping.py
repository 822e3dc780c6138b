"""What the executor does besides ops: usage, removal, leases."""

import asyncio
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from services.executor.adapters.layer_notes import LAYER_NOTE
from services.executor.core.snapshots import Snapshot
from services.executor.ports import SnapshotStore
from shared.blobs.threads import Pool
from shared.bus.calls import Served
from shared.bus.ports import PubSub
from shared.errors import BuildmeshError
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.messages import (
    LeaseReleased,
    LeaseRenew,
    ListUsage,
    RefsRemoved,
    RemoveRefs,
    UsageRecord,
    UsageReport,
)

SWEEP_SECONDS = 10.0


class WholeStore(SnapshotStore, Protocol):
    """The store as its housekeeper sees it."""

    def all(self) -> tuple[Snapshot, ...]:
        """Every record."""
        ...

    def notes(self) -> list[tuple[str, str, bytes]]:
        """All notes: (snapshot, name, value)."""
        ...

    def sweep(self) -> tuple[str, ...]:
        """End leases that were not renewed; the ids that nobody holds any more."""
        ...


class Housekeeping:
    """Handlers of ListUsage and RemoveRefs, and the listener for leases. `forget` is told of ids that are gone, `lease_ended` of leases."""

    def __init__(
        self,
        *,
        home: str,
        store: WholeStore,
        threads: Pool,
        root: Path,
        forget: Callable[[str], None],
        lease_ended: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._home, self._store, self._threads, self._root, self._forget = home, store, threads, root, forget
        self._lease_ended = lease_ended

    async def usage(self, request: ListUsage, served: Served) -> UsageReport:
        """All records, with sizes."""
        return await self._threads.do(self._usage)

    def _usage(self) -> UsageReport:
        self._store.sizes()
        disk = os.statvfs(self._root)
        blobs = _noted_blobs(self._store.notes())
        return UsageReport(
            records=tuple(_record(s, self._home, blobs.get(s.id, ())) for s in self._store.all()),
            disk_total=disk.f_blocks * disk.f_frsize,
            disk_free=disk.f_bfree * disk.f_frsize,
        )

    async def remove(self, request: RemoveRefs, served: Served) -> RefsRemoved:
        """Only what nobody uses goes."""
        gone = await self._threads.do(self._store.remove, request.ids)
        for snapshot in gone:
            self._forget(snapshot.id)
        return RefsRemoved(ids=tuple(s.id for s in gone))

    async def follow_leases(self, bus: PubSub, ready: Callable[[], None]) -> None:
        """Renewals and releases, until cancelled."""
        codec = Codec()
        async with bus.subscribe(subjects.LEASES) as incoming:
            ready()
            async for delivery in incoming:
                try:
                    message = codec.decode(delivery.data).body
                except BuildmeshError:
                    continue  # anybody may write here; nonsense renews and releases nothing
                match message:
                    case LeaseRenew():
                        self._store.renew(message.leases)
                    case LeaseReleased():
                        self._store.release(message.lease)
                        self._lease_ended(message.lease)

    async def sweep(self) -> None:
        """End leases whose owners fell silent, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self._store.sweep()


def _noted_blobs(notes: list[tuple[str, str, bytes]]) -> dict[str, tuple[str, ...]]:
    """Layer blobs by snapshot; notes about other things are passed over."""
    found: dict[str, tuple[str, ...]] = {}
    for id, name, value in notes:
        if name.startswith(LAYER_NOTE):
            layer = json.loads(value)
            found[id] = (*found.get(id, ()), layer["digest"])
    return found


def _record(snapshot: Snapshot, home: str, blobs: tuple[str, ...]) -> UsageRecord:
    return UsageRecord(
        id=snapshot.id,
        mutable=snapshot.mutable,
        in_use=snapshot.in_use,
        size=0 if snapshot.mutable and snapshot.in_use else max(snapshot.size, 0),
        parents=snapshot.parents,
        created_at=int(snapshot.created * 1e9),
        last_used_at=int((snapshot.last_used or 0) * 1e9),
        usage_count=snapshot.usage_count,
        description=snapshot.description,
        record_type=snapshot.record_type.value,
        executor=home,
        blobs=blobs,
    )
