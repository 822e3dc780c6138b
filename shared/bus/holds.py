"""A key with a short life that its holder renews: a lock, a lead, a download that others wait for.

Whoever stands still or is cut off for longer than that life has lost it, knows so before anybody else can have it, and never gets it
back as the same hold: somebody may have had it meanwhile. What a holder does with the loss is its own affair.

One thing it can't see: when the bus loses its folder, a key may be taken anew before its holder is heard again. The holder
notices within `Life.renew`.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from shared.bus.ports import KeyValue
from shared.errors import BuildmeshError

__all__ = ["Hold", "Life"]

Trouble = Callable[[BuildmeshError], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Life:
    """Seconds. `ttl`: how long a key lives without renewal (its bucket's). `renew`: between two renewals; several fit into a life.

    `margin`: how long before the end of that life a holder that can't renew gives up, so that it has stopped when another begins.
    `look`: between two looks of those who wait.
    """

    ttl: float
    renew: float
    look: float
    margin: float = 0.0


class Hold:
    """One holder of one key, once. `own` is what it writes there, and no other holder's word. `trouble` is told what the bus refuses."""

    def __init__(
        self,
        bucket: KeyValue,
        key: str,
        own: str,
        life: Life,
        *,
        trouble: Trouble = lambda _: None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._bucket, self._key, self._own, self._life, self._trouble = bucket, key, own.encode(), life, trouble
        self._clock = clock or asyncio.get_running_loop().time
        self._revision = 0
        self._sure_until = 0.0

    async def take(self) -> bool:
        """Try once. Raises Unavailable."""
        asked = self._clock()
        revision = await self._bucket.create(self._key, self._own)
        return self._noted(revision, asked)

    async def win(self, refused: Callable[[], None] = lambda: None) -> None:
        """Return when it is ours; `refused` is called each time when another one has it. Without the bus nobody gets it."""
        while True:
            try:
                if await self.take():
                    return
                refused()
            except BuildmeshError as error:
                self._trouble(error)
            await asyncio.sleep(self._life.look)

    async def wait_free(self) -> None:
        """Return when nobody has it (any more). Raises Unavailable."""
        while await self._bucket.get(self._key) is not None:  # noqa: ASYNC110 (another process)
            await asyncio.sleep(self._life.look)

    async def keep(self) -> None:
        """Renew it until it is lost, then return: another one has it, or might have it for all that we know."""
        while True:
            await asyncio.sleep(min(self._life.renew, max(self._left(), 0.0)))
            if self._left() <= 0.0 or not await self._renewed():
                return

    def _left(self) -> float:
        return self._sure_until - self._clock()

    async def _renewed(self) -> bool:
        """False when another one has it. What the bus can't say now it may say at the next turn."""
        try:
            async with asyncio.timeout(self._left()):
                return await self._renew()
        except TimeoutError:
            return True
        except BuildmeshError as error:
            self._trouble(error)
            return True

    async def _renew(self) -> bool:
        asked = self._clock()
        revision = await self._bucket.update(self._key, self._own, revision=self._revision)
        if revision is None:
            revision = await self._renew_other()
        return self._noted(revision, asked)

    async def _renew_other(self) -> int | None:
        """The entry is not the one we wrote last: an answer got lost, or the bus lost its folder (and perhaps was told again)."""
        found = await self._bucket.get(self._key)
        if found is None:
            return await self._bucket.create(self._key, self._own)
        if found.value != self._own:
            return None
        return await self._bucket.update(self._key, self._own, revision=found.revision)

    def _noted(self, revision: int | None, asked: float) -> bool:
        """The entry was written after `asked`, so it lives at least from then on."""
        if revision is None:
            return False
        self._revision, self._sure_until = revision, asked + self._life.ttl - self._life.margin
        return True

    async def release(self) -> None:
        """Let another one have it at once. What is not ours any more stays."""
        self._sure_until = 0.0
        self._bucket.disown(self._key)  # nor is it to come back when the bus does
        try:
            async with asyncio.timeout(self._life.ttl):  # after that it has expired
                found = await self._bucket.get(self._key)
                if found is not None and found.value == self._own:
                    await self._bucket.delete(self._key, revision=found.revision)
        except TimeoutError:
            return
        except BuildmeshError as error:
            self._trouble(error)
