"""Locks of the whole fleet, each a key with a short life in a bucket that its holder renews (KV `locks`).

A holder that stands still or is cut off for longer than that life has lost the lock: what it did under it is cancelled.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from shared.bus.ports import Buckets, KeyValue
from shared.errors import BuildmeshError, CallLost
from shared.run import new_id
from shared.wire import subjects

__all__ = ["FleetLocks"]

TTL: Final = subjects.TTL[subjects.KV_LOCKS]
RENEW: Final = 2.0
LOOK: Final = 0.2


class FleetLocks:
    """`tasks` takes what renews locks while they are held."""

    def __init__(self, buckets: Buckets, tasks: asyncio.TaskGroup, *, ttl: float = TTL, renew: float = RENEW) -> None:
        self._buckets, self._tasks, self._ttl, self._renew_every = buckets, tasks, ttl, renew

    @asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        """Wait for the lock and keep it inside. Raises CallLost when it was lost meanwhile: the work is to be done again."""
        key, own = hashlib.sha256(name.encode()).hexdigest(), new_id().encode()
        bucket = await self._taken(key, own)
        held = asyncio.timeout(None)
        renewing = self._tasks.create_task(self._renew(bucket, key, own, held), name=f"lock {name[:100]}")
        try:
            async with held:
                yield
        except TimeoutError:
            if held.expired():
                raise CallLost(f"the lock of {name[:100]!r} was lost: this executor stood still or was cut off") from None
            raise
        finally:
            renewing.cancel()
            await self._release(bucket, key, own)

    async def _taken(self, key: str, own: bytes) -> KeyValue:
        while True:
            with contextlib.suppress(BuildmeshError):  # without the bus nobody gets it
                bucket = await self._buckets.bucket(subjects.KV_LOCKS, ttl=self._ttl)
                if await bucket.create(key, own) is not None:
                    return bucket
            await asyncio.sleep(LOOK)

    async def _renew(self, bucket: KeyValue, key: str, own: bytes, held: asyncio.Timeout) -> None:
        loop = asyncio.get_running_loop()
        until = loop.time() + self._ttl
        while loop.time() < until:
            await asyncio.sleep(self._renew_every)
            with contextlib.suppress(BuildmeshError):
                if not await self._is_renewed(bucket, key, own):
                    break
                until = loop.time() + self._ttl
        held.reschedule(loop.time())

    async def _is_renewed(self, bucket: KeyValue, key: str, own: bytes) -> bool:
        """A key that is gone (the bus lost its folder) is taken again, unless somebody was faster."""
        found = await bucket.get(key)
        if found is None:
            return await bucket.create(key, own) is not None
        return found.value == own and await bucket.update(key, own, revision=found.revision) is not None

    async def _release(self, bucket: KeyValue, key: str, own: bytes) -> None:
        with contextlib.suppress(BuildmeshError):  # it expires
            found = await bucket.get(key)
            if found is not None and found.value == own:
                await bucket.delete(key)
