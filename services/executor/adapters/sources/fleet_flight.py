"""Single flight over the fleet: what one executor downloads just now, others wait for (KV `pulls`, by shared.bus.holds)."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from shared.bus.holds import Hold, Life
from shared.bus.ports import KeyValue
from shared.errors import Unavailable
from shared.run import new_id
from shared.wire import subjects

LIFE: Final = Life(ttl=subjects.TTL[subjects.KV_PULLS], renew=2.0, look=0.2)
"""Short: an executor that fell silent holds others up for so long. That two download the same for a moment does no harm."""


class FleetFlight:
    """`bucket` None = there is no fleet. `own` is this executor's id."""

    def __init__(self, bucket: KeyValue | None, own: str, *, life: Life = LIFE) -> None:
        self._bucket, self._own, self._life = bucket, own, life

    async def do(self, key: str, work: Callable[[], Awaitable[None]], done: Callable[[], Awaitable[bool]]) -> None:
        """Run `work`, unless somebody else in the fleet does and `done()` is true when he has ended. Without a bus it just runs.

        `key` is a safe id. Raises as `work` does.
        """
        while self._bucket is not None:
            hold = Hold(self._bucket, key, f"{self._own} {new_id()}", self._life)
            match await _is_ours(hold):
                case None:
                    break
                case True:
                    await _first(hold, key, work)
                    return
                case False if await done():
                    return
        await work()


async def _is_ours(hold: Hold) -> bool | None:
    """True: nobody else is at it. False: somebody was, and has ended. None: the bus can't say."""
    try:
        if await hold.take():
            return True
        await hold.wait_free()
    except Unavailable:
        return None
    return False


async def _first(hold: Hold, key: str, work: Callable[[], Awaitable[None]]) -> None:
    """A hold that is lost meanwhile is no reason to stop."""
    try:
        async with asyncio.TaskGroup() as tasks:
            keeping = tasks.create_task(hold.keep(), name=f"hold {key}")
            failure = await _outcome(work)
            keeping.cancel()
    finally:
        await hold.release()
    if failure is not None:
        raise failure


async def _outcome(work: Callable[[], Awaitable[None]]) -> Exception | None:
    """What went wrong; the error is not to be wrapped by the task group."""
    try:
        await work()
    except Exception as error:
        return error
    return None
