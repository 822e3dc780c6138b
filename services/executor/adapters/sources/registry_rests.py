"""A registry that has asked one executor to come back later is left alone by all (429 or 5xx with Retry-After)."""

import asyncio
import json
from contextlib import suppress

from shared.bus.ports import PubSub
from shared.errors import Unavailable
from shared.registry.client import MAX_RETRY_AFTER, HttpPool
from shared.wire import subjects

__all__ = ["RegistryRests"]

WAITING = 100  # words that have not been said yet; more are forgotten


class RegistryRests:
    """Tells the others what hosts have told `pool`, and hears them."""

    def __init__(self, pool: HttpPool) -> None:
        self._pool = pool
        self._told: asyncio.Queue[tuple[str, float]] = asyncio.Queue(WAITING)
        pool.told_to_rest = self._tell

    def _tell(self, host: str, seconds: float) -> None:
        with suppress(asyncio.QueueFull):
            self._told.put_nowait((host, seconds))

    async def follow(self, bus: PubSub) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks, bus.subscribe(subjects.REGISTRY_RESTS) as heard:
            tasks.create_task(self._say(bus), name="registry rests")
            async for delivery in heard:
                self._hear(delivery.data)

    async def _say(self, bus: PubSub) -> None:
        while True:
            host, seconds = await self._told.get()
            with suppress(Unavailable):
                await bus.publish(subjects.REGISTRY_RESTS, json.dumps({"host": host[:300], "seconds": seconds}).encode())

    def _hear(self, data: bytes) -> None:
        """Nonsense is passed over; nobody can be kept waiting for longer than a registry could."""
        try:
            said = json.loads(data)
            host, seconds = said["host"], float(said["seconds"])
        except (ValueError, TypeError, KeyError):
            return
        if isinstance(host, str) and 0 < seconds <= MAX_RETRY_AFTER:
            self._pool.rest(host, seconds)
