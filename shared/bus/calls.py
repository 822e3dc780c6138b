"""Calls: the one primitive for a question or an order with an answer (docs/bus.md §1).

async with Calls(bus) as calls:
    done = await calls.call(subjects.CACHE, CacheQuery(...))
    done = await calls.run(subjects.exec_queue(platform), RunOp(...), on_progress=show)
    await calls.serve(subjects.CACHE, {CacheQuery: answer}, queue="cachestore")      # until drained
    await calls.work(subjects.BUILDS, {SolveBuild: solve}, slots=asyncio.Semaphore(8))
"""

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from shared.bus import frames
from shared.bus.caller import Caller, OnProgress, Waiting
from shared.bus.frames import CallSettings, Claims, Tracing, Untraced, Wrapper
from shared.bus.ports import Bus, Subscription
from shared.bus.server import NOTHING_ABANDONED, Abandoned, AsyncHandler, Handlers, Served, Server, SyncHandler
from shared.errors import InvalidInput
from shared.wire import subjects
from shared.wire.codec import Codec

__all__ = ["AsyncHandler", "CallSettings", "Calls", "Handlers", "Served", "SyncHandler", "Waiting"]

FOREVER = 10.0 * 365 * 86400


class Calls:
    """Both sides of calls over one bus. Use as an async context manager; inside, `call`, `run`, `serve` and `work` may be used freely."""

    def __init__(
        self,
        bus: Bus,
        *,
        codec: Codec | None = None,
        claims: Claims | None = None,
        tracing: Tracing | None = None,
        settings: CallSettings | None = None,
        new_id: Callable[[], str] = lambda: os.urandom(12).hex(),
    ) -> None:
        self._bus = bus
        self._settings = settings or CallSettings()
        self._tracing = tracing or Untraced()
        self._wrapper = Wrapper(codec or Codec(), claims, self._settings.limit)
        self._new_id = new_id
        self._inbox = bus.new_inbox()
        self._server = Server(bus, self._wrapper, self._settings, self._tracing, self._inbox)
        self._also_waiting: list[Callable[[], Mapping[str, Waiting]]] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Calls":
        incoming = await self._stack.enter_async_context(self._bus.subscribe(self._inbox + ".>"))
        cancels = await self._stack.enter_async_context(self._bus.subscribe(subjects.CANCEL))
        tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._caller = Caller(self._bus, self._wrapper, self._settings, tasks, self._inbox)
        self._loops = [
            tasks.create_task(self._read_inbox(incoming), name="call inbox"),
            tasks.create_task(self._read_cancels(cancels), name="call cancels"),
            tasks.create_task(self._tick(), name="call ticks"),
        ]
        return self

    async def __aexit__(self, *failure: Any) -> None:
        self._caller.end()
        for loop in self._loops:
            loop.cancel()
        await self._stack.__aexit__(*failure)

    async def call(
        self,
        subject: str,
        request: Any,
        *,
        on_progress: OnProgress | None = None,
        within: float | None = None,
        absent: float | None = None,
        trace: str | None = None,
    ) -> Any:
        """Ask one server of `subject`; returns its answer, raises its failure. Progress batches go to `on_progress` in order.

        Raises CallLost when nobody accepts within `within` seconds (30), nobody at all listens for `absent` seconds (as `within`; less
        for a server that may be gone for good), or the server falls silent.
        """
        within = self._settings.accept_within if within is None else within
        return await self._call(subject, request, on_progress, within, within if absent is None else absent, False, trace)

    async def run(
        self, subject: str, request: Any, *, on_progress: OnProgress | None = None, within: float | None = None, trace: str | None = None
    ) -> Any:
        """Put work on a queue and wait for its answer. It may wait there for `within` seconds (without limit when not given).

        When its server dies another gets it; CallLost only after `within`.
        """
        return await self._call(subject, request, on_progress, FOREVER if within is None else within, FOREVER, True, trace)

    async def _call(
        self, subject: str, request: Any, on_progress: OnProgress | None, within: float, absent: float, queued: bool, trace: str | None
    ) -> Any:
        trace = self._tracing.current() if trace is None else trace
        return await self._caller.call(
            subject, request, id=self._new_id(), trace=trace, queued=queued, on_progress=on_progress, within=within, absent=absent
        )

    async def serve(
        self, subject: str, handlers: Handlers, *, queue: str = "", ready: Callable[[], None] | None = None, lasting: bool = False
    ) -> None:
        """Answer calls on `subject` until cancelled or drained. Members of one `queue` share them.

        A handler takes (request, Served) and returns the answering message; sync handlers run inline and must be quick. Errors of
        shared.errors reach the caller as they are. `ready` is called when calls can be received. `lasting`: keep answering while
        draining, because what still runs needs it (a build's bridge); the owner cancels it.
        """
        await self._server.serve(subject, handlers, queue=queue, ready=ready, lasting=lasting)

    async def work(self, subject: str, handlers: Handlers, *, slots: asyncio.Semaphore, abandoned: Abandoned = NOTHING_ABANDONED) -> None:
        """Pull from the queue `subject` whenever one of `slots` (which several pullers may share) is free, until cancelled or drained.

        `abandoned` is told of work that its caller cancelled and that comes from the queue all the same: who had begun it may have died.
        """
        await self._server.work(subject, handlers, slots=slots, abandoned=abandoned)

    async def drain(self) -> None:
        """Take no new calls or work. `serve` and `work` return as soon as what runs has ended."""
        await self._server.drain()

    def leave(self) -> None:
        """This process stops, with questions open: what was asked for goes on until its grace is over, as when a process dies."""
        self._caller.leave()

    def statistics(self) -> dict[str, int]:
        """Calls asked and being served right now."""
        return {"asked": len(self._caller), "served": len(self._server)}

    def waiting(self) -> dict[str, Waiting]:
        """Work for queues from here that nobody has taken, by queue; with what `also_waiting` knows of."""
        found = self._caller.waiting(asyncio.get_running_loop().time())
        for read in self._also_waiting:
            for queue, more in read().items():
                known = found.get(queue, Waiting(depth=0, oldest=0.0))
                found[queue] = Waiting(depth=known.depth + more.depth, oldest=max(known.oldest, more.oldest))
        return found

    def also_waiting(self, read: Callable[[], Mapping[str, Waiting]]) -> None:
        """Work that is held back before its queue, for `waiting`."""
        self._also_waiting.append(read)

    async def _read_inbox(self, incoming: Subscription) -> None:
        """Frames for the caller at `<call id>.<server>`; questions to the server at `alive.<call id>` and `orphan.<call id>`."""
        own = len(self._inbox) + 1
        async for delivery in incoming:
            first, _, second = delivery.subject[own:].partition(".")
            match first:
                case frames.ALIVE:
                    await self._server.probed(second, delivery.reply)
                case frames.ORPHAN:
                    self._server.unheard(second)
                case _:
                    self._caller.receive(first, second, delivery.data)

    async def _read_cancels(self, cancels: Subscription) -> None:
        async for delivery in cancels:
            try:
                envelope = self._wrapper.open(delivery.data)
            except InvalidInput:
                continue  # anybody may write here; what is no cancel frame cancels nothing
            if envelope.frame == frames.CANCEL:
                self._server.cancel(envelope.key)

    async def _tick(self) -> None:
        """The clockwork of both sides."""
        while True:
            await asyncio.sleep(self._settings.tick)
            now = asyncio.get_running_loop().time()
            await self._caller.tick(now)
            await self._server.tick(now)
