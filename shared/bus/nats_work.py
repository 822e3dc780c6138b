"""Pulling from a JetStream work queue: one durable consumer per subject, shared by all who pull it."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from shared.bus.cancellation import heeding
from shared.bus.ports import Delivery
from shared.errors import Unavailable

HAND_BACK = 2.0  # seconds
LOOK = 0.05


class NatsLease:
    """See shared.bus.ports.Lease."""

    def __init__(self, message: Any, delivery: Delivery) -> None:
        self._message = message
        self._settled = False
        self.delivery = delivery
        self.attempt = int(message.metadata.num_delivered)
        self.ticket = str(message.reply)

    async def keep(self) -> None:
        if not self._settled:
            await _said(self._message.in_progress())

    async def done(self) -> None:
        if not self._settled:
            await _said(self._message.ack())
            self._settled = True

    async def give_back(self, *, delay: float = 0.0) -> None:
        if not self._settled:
            await _said(self._message.nak(delay=delay or None))
            self._settled = True


async def _said(saying: Awaitable[None]) -> None:
    from nats.errors import Error

    try:
        await heeding(saying)
    except (Error, OSError) as error:
        raise Unavailable(f"the bus: {type(error).__name__}: {error}") from error


class _Pull:
    """One question to the server. It is never cancelled in the middle: the library would drop the message that comes just then."""

    def __init__(self, subscription: Any, within: float) -> None:
        self._subscription, self._within = subscription, within
        self._fetched: list[Any] = []
        self._failure: Exception | None = None

    async def run(self) -> list[Any]:
        """Messages; raises as the library does. What comes when nobody waits any more goes back at once, not when its claim runs out."""
        async with asyncio.TaskGroup() as tasks:
            fetching = tasks.create_task(self._fetch())
            try:
                await asyncio.shield(fetching)
            except asyncio.CancelledError:
                await self._hand_back(fetching)
                fetching.cancel()
                raise
        if self._failure is not None:
            raise self._failure
        return self._fetched

    async def _fetch(self) -> None:
        try:
            self._fetched = await self._subscription.fetch(1, timeout=self._within)
        except Exception as error:
            self._failure = error

    async def _hand_back(self, fetching: "asyncio.Task[None]") -> None:
        """Take the question back, which the server confirms, and with it everything that it had sent."""
        from nats.errors import Error

        with suppress(Error, OSError, TimeoutError):  # then all of it has gone with the connection
            async with asyncio.timeout(HAND_BACK):
                await self._subscription._sub.drain()
            await asyncio.wait((fetching,), timeout=LOOK)
            for message in self._fetched:
                await message.nak()


class Pullers:
    """The pull subscriptions of one process, by subject."""

    def __init__(self, jetstream: Any, ack_wait: float, restore: Callable[[], Awaitable[None]]) -> None:
        self._js, self._ack_wait, self._restore = jetstream, ack_wait, restore
        self._open: dict[str, Any] = {}
        self._opening = asyncio.Lock()

    async def _subscription(self, stream: str, subject: str) -> Any:
        from nats.js import api

        async with self._opening:
            if subject not in self._open:
                durable = "w-" + hashlib.sha256(subject.encode()).hexdigest()[:24]
                config = api.ConsumerConfig(
                    durable_name=durable,
                    filter_subject=subject,
                    ack_policy=api.AckPolicy.EXPLICIT,
                    ack_wait=self._ack_wait,
                    max_ack_pending=100_000,
                )
                self._open[subject] = await self._js.pull_subscribe(subject, durable=durable, stream=stream, config=config)
            return self._open[subject]

    async def pull(self, stream: str, subject: str, within: float) -> Any:
        """The next message, or None. A consumer that is gone (with its folder) is opened anew."""
        from nats.errors import TimeoutError as NatsTimeout

        subscription = await self._subscription(stream, subject)
        try:
            messages = await _Pull(subscription, within).run()
        except (NatsTimeout, TimeoutError):
            await self._look_after(subject)
            return None
        except (Exception, asyncio.CancelledError):
            self._open.pop(subject, None)
            raise
        return messages[0] if messages else None

    async def _look_after(self, subject: str) -> None:
        """Silence may mean that nothing waits, or that the consumer is gone."""
        from nats.errors import Error

        try:
            await self._open[subject].consumer_info()
        except (Error, KeyError, TimeoutError):
            self._open.pop(subject, None)
            await self._restore()

    async def depth(self, stream: str, subject: str) -> int:
        """Messages that no consumer has claimed."""
        info = await (await self._subscription(stream, subject)).consumer_info()
        return int(info.num_pending)
