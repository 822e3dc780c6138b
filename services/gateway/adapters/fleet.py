"""Executors as workers: read from the bucket in which they register themselves."""

import asyncio
import platform as host
from collections.abc import Sequence

from services.gateway.core.workers import select_workers
from shared.bridge.codec import worker_record
from shared.bus.ports import Buckets, KeyValue
from shared.errors import InvalidInput, Unavailable
from shared.model.workers import default_platform, is_native
from shared.pb import worker_pb2
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.execute import ExecutorInfo

EXECUTOR_TTL = subjects.TTL[subjects.KV_EXECUTORS]
FIRST_WITHIN = 5.0
"""Seconds that a client's first question waits for the first executor to come up."""


class Fleet:
    """The executors that are alive."""

    def __init__(self, buckets: Buckets, codec: Codec) -> None:
        self._buckets, self._codec = buckets, codec
        self._bucket: KeyValue | None = None

    async def workers(self, filters: Sequence[str] = ()) -> list[ExecutorInfo]:
        """Those that match; the first one is the default. Raises Unavailable when no executor is there at all."""
        found = await self._all()
        if not found:
            found = await self._wait_for_first()
        default = default_platform((e.platforms[0] for e in found if e.platforms), host.machine())
        return select_workers(sorted(found, key=lambda e: (e.draining, not is_native(e.platforms, default), e.id)), filters)

    async def _all(self) -> list[ExecutorInfo]:
        if self._bucket is None:
            self._bucket = await self._buckets.bucket(subjects.KV_EXECUTORS, ttl=EXECUTOR_TTL)
        decoded = (self._decode(entry.value) for entry in await self._bucket.entries())
        return [e for e in decoded if e is not None]

    async def _wait_for_first(self) -> list[ExecutorInfo]:
        assert self._bucket is not None
        try:
            async with asyncio.timeout(FIRST_WITHIN), self._bucket.watch() as changes:
                async for _, entry in changes:
                    if entry is not None and self._decode(entry.value) is not None:
                        return await self._all()
        except TimeoutError:
            pass
        raise Unavailable("no worker is available: no executor has registered")

    def _decode(self, value: bytes) -> ExecutorInfo | None:
        try:
            found = self._codec.decode(value).body
        except InvalidInput:
            return None
        return found if isinstance(found, ExecutorInfo) else None


def full_record(executor: ExecutorInfo, version: worker_pb2.BuildkitVersion) -> worker_pb2.WorkerRecord:
    """What ListWorkers tells of an executor."""
    load = {
        "buildmesh.slots": str(executor.slots),
        "buildmesh.busy": str(executor.busy),
        "buildmesh.classes": ",".join(executor.classes),
        "buildmesh.draining": str(executor.draining).lower(),
    }
    record = worker_record(executor.id, {**load, **executor.labels}, executor.platforms)
    record.BuildkitVersion.CopyFrom(version)
    record.CDIDevices.extend(
        worker_pb2.CDIDevice(Name=device.name, AutoAllow=device.free, Annotations=device.annotations) for device in executor.devices
    )
    record.GCPolicy.extend(
        worker_pb2.GCPolicy(
            all=rule.all,
            filters=rule.filters,
            keepDuration=rule.keep_duration,
            reservedSpace=rule.reserved_space,
            maxUsedSpace=rule.max_used_space,
            minFreeSpace=rule.min_free_space,
        )
        for rule in executor.gc_policy
    )
    return record
