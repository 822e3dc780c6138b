"""Removes what was kept of builds that nobody will end any more (KV `bridges`).

Who ends a build removes it. It takes several deaths at once that there is nobody: its gateway, its solver, and the bus with the queue
that would have given it to another solver. Then the build is missing among those that gateways announce (KV `builds`).
"""

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from shared.bus.ports import Buckets
from shared.errors import BuildmeshError
from shared.telemetry import Log
from shared.wire import subjects

EVERY: Final = 30.0
"""Seconds between two looks; who is missing in both has not been announced for a whole life of an entry of `builds`."""


class LeftBuilds:
    """`running`: refs of the builds of this solver."""

    def __init__(self, buckets: Buckets, running: Callable[[], Collection[str]], log: Log) -> None:
        self._buckets, self._running, self._log = buckets, running, log
        self._missing: set[str] = set()  # at the last look

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self.look()
            except BuildmeshError as error:
                self._log.warning("builds that were left could not be looked for", error=str(error))
                self._missing.clear()

    async def look(self) -> None:
        """Remove builds that were missing at the last look and still are. Raises Unavailable."""
        kept = await self._buckets.bucket(subjects.KV_BRIDGES, ttl=subjects.TTL[subjects.KV_BRIDGES])
        announced = await self._buckets.bucket(subjects.KV_BUILDS, ttl=subjects.TTL[subjects.KV_BUILDS])
        keys = [entry.key for entry in await kept.entries()]
        wanted = {entry.key for entry in await announced.entries()} | set(self._running())
        missing = {build for key in keys if (build := key.rpartition(".")[0]) not in wanted}
        for key in keys:
            if key.rpartition(".")[0] in missing & self._missing:
                await kept.delete(key)
        self._missing = missing
