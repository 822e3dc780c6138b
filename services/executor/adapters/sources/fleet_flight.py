"""Single flight over the fleet: what one executor downloads just now, others wait for. By a key with a short life in a bucket."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final

from shared.bus.ports import KeyValue
from shared.errors import BuildmeshError, Unavailable
from shared.wire import subjects

TTL: Final = subjects.TTL[subjects.KV_PULLS]  # seconds after which an executor that fell silent no longer holds others up
RENEW = 2.0
LOOK = 0.2


class FleetFlight:
    """`bucket` None = there is no fleet. `own` is this executor's id."""

    def __init__(self, bucket: KeyValue | None, own: str) -> None:
        self._bucket, self._own = bucket, own.encode()

    async def do(self, key: str, work: Callable[[], Awaitable[None]], done: Callable[[], Awaitable[bool]]) -> None:
        """Run `work`, unless somebody else in the fleet does and `done()` is true when he has ended. Without a bus it just runs.

        `key` is a safe id. Raises as `work` does.
        """
        while self._bucket is not None:
            match await self._is_ours(self._bucket, key):
                case None:
                    break
                case True:
                    await self._first(self._bucket, key, work)
                    return
                case False if await done():
                    return
        await work()

    async def _is_ours(self, bucket: KeyValue, key: str) -> bool | None:
        """True: nobody else is at it. False: somebody was, and has ended. None: the bus can't say."""
        try:
            if await bucket.create(key, self._own) is not None:
                return True
            while await bucket.get(key) is not None:  # noqa: ASYNC110 (another process)
                await asyncio.sleep(LOOK)
        except Unavailable:
            return None
        return False

    async def _first(self, bucket: KeyValue, key: str, work: Callable[[], Awaitable[None]]) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                renewing = tasks.create_task(self._renew(bucket, key), name=f"hold {key}")
                failure = await _outcome(work)
                renewing.cancel()
        finally:
            with contextlib.suppress(BuildmeshError):
                await bucket.delete(key)
        if failure is not None:
            raise failure

    async def _renew(self, bucket: KeyValue, key: str) -> None:
        while True:
            await asyncio.sleep(RENEW)
            with contextlib.suppress(BuildmeshError):
                await bucket.put(key, self._own)


async def _outcome(work: Callable[[], Awaitable[None]]) -> Exception | None:
    """What went wrong; the error is not to be wrapped by the task group."""
    try:
        await work()
    except Exception as error:
        return error
    return None
