"""The executors as holders of snapshots: known from KV `executors`, asked by calls."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence

from services.cachestore.ports import Holding
from shared.bus.calls import Calls
from shared.bus.ports import Entry, KeyValue
from shared.errors import BuildmeshError, InvalidInput
from shared.run import Clock
from shared.telemetry import Log
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.messages import ExecutorInfo, ListUsage, RefsRemoved, RemoveRefs, UsageReport

ANSWER_WITHIN = 10.0
TTL = subjects.TTL[subjects.KV_EXECUTORS]


class BusHolders:
    """See services.cachestore.ports.Holders. `follow` keeps the list of executors up to date."""

    def __init__(self, calls: Calls, bucket: KeyValue, clock: Clock, log: Log, *, presume_alive: float) -> None:
        self._calls, self._bucket, self._clock, self._log = calls, bucket, clock, log
        self._codec = Codec()
        self._known: dict[str, ExecutorInfo] = {}
        self._presume_until = clock.monotonic() + presume_alive

    async def follow(self) -> None:
        """Watch the bucket until cancelled."""
        async with self._bucket.watch() as changes:
            await self._follow(changes)

    async def _follow(self, changes: AsyncIterator[tuple[str, Entry | None]]) -> None:
        async for key, entry in changes:
            info = self._decoded(entry) if entry is not None else None
            if info is None:
                self._known.pop(key, None)
            else:
                self._known[key] = info

    def _decoded(self, entry: Entry) -> ExecutorInfo | None:
        try:
            body = self._codec.decode(entry.value).body
        except InvalidInput as error:
            self._log.warning("an executor's registration can't be read", key=entry.key, error=str(error))
            return None
        return body if isinstance(body, ExecutorInfo) else None

    def alive(self, executor: str) -> bool:
        return executor in self._known or self._clock.monotonic() < self._presume_until

    async def holdings(self) -> list[Holding]:
        async with asyncio.TaskGroup() as tasks:
            asked = [tasks.create_task(self._holding(info)) for info in self._known.values()]
        return [holding for holding in (task.result() for task in asked) if holding is not None]

    async def _holding(self, info: ExecutorInfo) -> Holding | None:
        try:
            report = await self._calls.call(subjects.executor_call(info.id), ListUsage(), within=ANSWER_WITHIN, absent=5.0)
        except (BuildmeshError, ValueError) as error:
            self._log.warning("an executor did not report its usage", executor=info.id, error=str(error))
            return None
        if not isinstance(report, UsageReport):
            return None
        return Holding(executor=info, records=report.records, disk_free=report.disk_free)

    async def remove(self, executor: str, ids: Sequence[str]) -> Collection[str]:
        try:
            removed = await self._calls.call(subjects.executor_call(executor), RemoveRefs(ids=tuple(ids)), within=ANSWER_WITHIN, absent=5.0)
        except BuildmeshError as error:
            self._log.warning("an executor did not remove snapshots", executor=executor, error=str(error))
            return ()
        return set(removed.ids) & set(ids) if isinstance(removed, RefsRemoved) else ()
