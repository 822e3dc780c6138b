"""Locks of the whole fleet (KV `locks`, by shared.bus.holds): one holder at a time. What is done under a lost lock is cancelled."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from shared.bus.holds import Hold, Life
from shared.bus.ports import Buckets
from shared.errors import BuildmeshError, CallLost
from shared.run import new_id
from shared.wire import subjects

__all__ = ["FleetLocks"]

LIFE: Final = Life(ttl=subjects.TTL[subjects.KV_LOCKS], renew=2.0, look=0.2, margin=1.0)
"""A container takes a moment to be killed: it has to have stopped when another one begins."""


class FleetLocks:
    """`tasks` takes what renews locks while they are held."""

    def __init__(self, buckets: Buckets, tasks: asyncio.TaskGroup, *, life: Life = LIFE) -> None:
        self._buckets, self._tasks, self._life = buckets, tasks, life

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        """Wait for the lock and keep it inside. Raises CallLost when it was lost meanwhile: the work is to be done again."""
        hold = await self._open(hashlib.sha256(name.encode()).hexdigest())
        await hold.win()
        held = asyncio.timeout(None)
        keeping = self._tasks.create_task(_keep(hold, held), name=f"lock {name[:100]}")
        try:
            async with held:
                yield
        except TimeoutError:
            if held.expired():
                raise CallLost(f"the lock of {name[:100]!r} was lost: this executor stood still or was cut off") from None
            raise
        finally:
            keeping.cancel()
            await hold.release()

    async def _open(self, key: str) -> Hold:
        """Without the bus nobody gets a lock."""
        while True:
            try:
                return Hold(await self._buckets.bucket(subjects.KV_LOCKS, ttl=self._life.ttl), key, new_id(), self._life)
            except BuildmeshError:
                await asyncio.sleep(self._life.look)


async def _keep(hold: Hold, held: asyncio.Timeout) -> None:
    await hold.keep()
    held.reschedule(asyncio.get_running_loop().time())
