"""Tells the fleet that this executor is here and what it offers (KV `executors`)."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from shared.bus.ports import Buckets
from shared.errors import BuildmeshError
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.execute import DeviceInfo
from shared.wire.messages import ExecutorInfo

PRESENCE_TTL = subjects.TTL[subjects.KV_EXECUTORS]
RENEW_SECONDS = 1.5


class Presence:
    """Writes `info` again and again, with the current load. `busy()` counts running ops, `devices()` tells the machine's devices."""

    def __init__(
        self,
        buckets: Buckets,
        info: ExecutorInfo,
        busy: Callable[[], int],
        draining: Callable[[], bool],
        devices: Callable[[], Awaitable[tuple[DeviceInfo, ...]]],
    ) -> None:
        self._buckets, self._info, self._busy, self._draining, self._devices = buckets, info, busy, draining, devices

    async def run(self, ready: Callable[[], None]) -> None:
        """Until cancelled; then the entry is taken back, so that nobody waits for its TTL."""
        bucket = await self._buckets.bucket(subjects.KV_EXECUTORS, ttl=PRESENCE_TTL)
        codec = Codec()
        try:
            while True:
                info = replace(self._info, busy=self._busy(), draining=self._draining(), devices=await self._devices())
                with suppress(BuildmeshError):  # a bus that is away comes back; what runs here goes on meanwhile
                    await bucket.put(info.id, codec.encode(info))
                    ready()
                await asyncio.sleep(RENEW_SECONDS)
        finally:
            with suppress(BuildmeshError):
                await bucket.delete(self._info.id)
