"""One cachestore answers at a time; the others stand by (docs/adr/0052). Who writes the key `cachestore` of the bucket `leaders` leads."""

import asyncio
from collections.abc import Callable

from shared.bus.ports import KeyValue
from shared.errors import BuildmeshError
from shared.telemetry import Log
from shared.wire import subjects

KEY = "cachestore"
TTL = subjects.TTL[subjects.KV_LEADERS]  # seconds after which a leader that fell silent is replaced
RENEW = 1.0
LOOK = 0.5


class Leadership:
    """`own` is this process's id. Times are short against the patience of those who ask the cachestore (10 s)."""

    def __init__(self, bucket: KeyValue, own: str, log: Log) -> None:
        self._bucket, self._own, self._log = bucket, own.encode(), log
        self._revision = 0

    async def win(self, stands_by: Callable[[], None]) -> None:
        """Returns when this process leads; `stands_by` is called when another one does."""
        while True:
            try:
                revision = await self._bucket.create(KEY, self._own)
            except BuildmeshError as error:
                self._log.warning("the bus does not say who leads", error=str(error))
                await asyncio.sleep(LOOK)
                continue
            if revision is not None:
                self._revision = revision
                return
            stands_by()
            await asyncio.sleep(LOOK)

    async def keep(self) -> None:
        """Returns when this process does not lead any more, or can't know for as long as others would wait for it."""
        loop = asyncio.get_running_loop()
        sure_until = loop.time() + TTL
        while loop.time() < sure_until:
            await asyncio.sleep(RENEW)
            asked = loop.time()
            try:
                if await self._renewed():
                    sure_until = asked + TTL - RENEW
                else:
                    break
            except BuildmeshError as error:
                self._log.warning("the lead can't be renewed", error=str(error))
        self._log.warning("another cachestore leads, or nobody knows who")

    async def _renewed(self) -> bool:
        revision = await self._bucket.update(KEY, self._own, revision=self._revision)
        if revision is None and await self._bucket.get(KEY) is None:
            revision = await self._bucket.create(KEY, self._own)  # the bucket was lost with the bus's folder
        if revision is None:
            return False
        self._revision = revision
        return True

    async def resign(self) -> None:
        """Let another one lead at once."""
        try:
            entry = await self._bucket.get(KEY)
            if entry is not None and entry.value == self._own:
                await self._bucket.delete(KEY)
        except BuildmeshError as error:
            self._log.warning("the lead ends by itself", error=str(error))
