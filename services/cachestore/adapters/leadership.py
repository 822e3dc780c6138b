"""One cachestore answers at a time; the others stand by (docs/adr/0052). Who holds the key `cachestore` of the bucket `leaders` leads."""

from collections.abc import Callable
from typing import Final

from shared.bus.holds import Hold, Life
from shared.bus.ports import KeyValue
from shared.errors import BuildmeshError
from shared.run import new_id
from shared.telemetry import Log
from shared.wire import subjects

KEY = "cachestore"
LIFE: Final = Life(ttl=subjects.TTL[subjects.KV_LEADERS], renew=1.0, look=0.5, margin=1.0)
"""Short against the patience of those who ask the cachestore (10 s). The margin: a leader has stopped answering when another begins."""


class Leadership:
    """`own` is this process's id; each lead is one of its own."""

    def __init__(self, bucket: KeyValue, own: str, log: Log, *, life: Life = LIFE) -> None:
        self._bucket, self._own, self._log, self._life = bucket, own, log, life
        self._hold = self._new()

    def _new(self) -> Hold:
        return Hold(self._bucket, KEY, f"{self._own} {new_id()}", self._life, trouble=self._tell)

    def _tell(self, error: BuildmeshError) -> None:
        self._log.warning("the bus does not say who leads", error=str(error))

    async def win(self, stands_by: Callable[[], None]) -> None:
        """Returns when this process leads; `stands_by` is called when another one does."""
        self._hold = self._new()
        await self._hold.win(stands_by)

    async def keep(self) -> None:
        """Returns when this process does not lead any more, or can't know."""
        await self._hold.keep()
        self._log.warning("another cachestore leads, or nobody knows who")

    async def resign(self) -> None:
        """Let another one lead at once."""
        await self._hold.release()
