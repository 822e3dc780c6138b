"""The answering side of calls: from a subject or a work queue, each call once, with heartbeats."""

import asyncio
import inspect
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Protocol

from shared.bus import frames
from shared.bus.frames import CallSettings, Tracing, Wrapper
from shared.bus.ports import Bus, Delivery, Lease
from shared.errors import BuildmeshError, CallLost, Canceled, Exhausted, InvalidInput, Unavailable
from shared.model import is_safe_id
from shared.wire.build import Taken
from shared.wire.codec import Envelope
from shared.wire.failure import to_failure

REMEMBERED = 1024  # finished and cancelled ids that are kept in mind
MAX_KEPT_ANSWER = 4096  # bytes
ANSWER_TRIES = 60  # half a second apart
COPIES = 1000  # deliveries of one copy of queued work, at most
_SUBJECT = re.compile(r"[\w$.-]+", re.ASCII)


class Served(Protocol):
    """What a handler may use besides the request."""

    @property
    def id(self) -> str:
        """The call's id: equal for repeated deliveries."""
        ...

    @property
    def attempt(self) -> int:
        """1 for the first delivery of queued work."""
        ...

    @property
    def order(self) -> int:
        """Of queued work: grows with each delivery of it, copies included."""
        ...

    async def progress(self, message: Any) -> None:
        """Send a batch to the caller."""
        ...

    def disown(self) -> None:
        """Somebody else has this piece of work now: what the handler returns or raises is not said to the caller."""
        ...


AsyncHandler = Callable[[Any, Served], Awaitable[Any]]
SyncHandler = Callable[[Any, Served], Any]
Handlers = Mapping[type, AsyncHandler | SyncHandler]
Abandoned = Mapping[type, Callable[[Any], Awaitable[None]]]
NOTHING_ABANDONED: Abandoned = MappingProxyType({})


class Running:
    """One call being worked on."""

    def __init__(self, server: "Server", id: str, reply: str, now: float, lease: Lease | None) -> None:
        self._server = server
        self.id, self.reply, self.lease = id, reply, lease
        self.attempt = lease.attempt if lease is not None else 1
        self.task: asyncio.Task[None] | None = None
        self.started = now
        self.beat = now
        self.accepted = False
        self.unwanted = False
        self.disowned = False
        self.unheard = False  # the bus said that the caller did not hear the last heartbeat
        self.unheard_since = now  # the last heartbeat that it heard

    @property
    def order(self) -> int:
        return _order(self.lease) if self.lease is not None else 1

    def disown(self) -> None:
        self.disowned = True

    async def progress(self, message: Any) -> None:
        await self._server.send(self, frames.PROGRESS, message)


class Server:
    """Runs handlers. A handler is picked by the request's type; sync ones (questions answered from memory) run without a task."""

    def __init__(self, bus: Bus, wrapper: Wrapper, settings: CallSettings, tracing: Tracing, inbox: str) -> None:
        self._bus, self._wrapper, self._settings, self._tracing = bus, wrapper, settings, tracing
        self._inbox, self._token = inbox, inbox.rpartition(".")[2]
        self._running: dict[str, Running] = {}
        self._finished: OrderedDict[str, bytes] = OrderedDict()
        self._cancelled: OrderedDict[str, None] = OrderedDict()
        self._readers: set[asyncio.Task[None]] = set()
        self._draining = False

    def __len__(self) -> int:
        return len(self._running)

    async def serve(self, subject: str, handlers: Handlers, *, queue: str, ready: Callable[[], None] | None, lasting: bool = False) -> None:
        """Answer until cancelled or drained; `ready` is called once the subscription stands."""
        async with asyncio.TaskGroup() as tasks:

            async def read() -> None:
                async with self._bus.subscribe(subject, queue=queue) as incoming:
                    if ready is not None:
                        ready()
                    async for delivery in incoming:
                        await self._take(delivery, delivery.reply, handlers, tasks, None)

            await self._until_drained(tasks, read(), lasting)

    async def work(self, subject: str, handlers: Handlers, *, slots: asyncio.Semaphore, abandoned: Abandoned = NOTHING_ABANDONED) -> None:
        """Pull from the queue whenever a slot is free, until cancelled or drained."""
        async with asyncio.TaskGroup() as tasks:

            async def read() -> None:
                while True:
                    async with slots:
                        pass  # wait until one is free; others may still be faster
                    lease = await self._pull(subject)
                    if lease is None:
                        continue
                    if slots.locked():
                        with suppress(Unavailable):
                            await lease.give_back(delay=0.05)
                        continue
                    await slots.acquire()
                    tasks.create_task(self._run_leased(lease, handlers, slots, abandoned), name=f"work {subject}")

            await self._until_drained(tasks, read())

    async def _pull(self, subject: str) -> Lease | None:
        try:
            return await self._bus.pull(subject, within=5.0)
        except Unavailable:  # the bus comes back some time
            await asyncio.sleep(0.5)
            return None

    async def _until_drained(self, tasks: asyncio.TaskGroup, reading: Any, lasting: bool = False) -> None:
        reader = tasks.create_task(reading, name="reader")
        if lasting:
            return
        self._readers.add(reader)
        reader.add_done_callback(self._readers.discard)
        if self._draining:
            reader.cancel()

    async def drain(self) -> None:
        """Take nothing new; `serve` and `work` return when what runs has ended."""
        self._draining = True
        for reader in list(self._readers):
            reader.cancel()

    async def _run_leased(self, lease: Lease, handlers: Handlers, slots: asyncio.Semaphore, abandoned: Abandoned) -> None:
        try:
            async with asyncio.TaskGroup() as inner:
                reply = lease.delivery.headers.get(frames.REPLY, "")
                reply = reply if _SUBJECT.fullmatch(reply) else ""
                await self._take(lease.delivery, reply, handlers, inner, lease, abandoned)
        finally:
            slots.release()

    async def _take(
        self,
        delivery: Delivery,
        reply: str,
        handlers: Handlers,
        tasks: asyncio.TaskGroup,
        lease: Lease | None,
        abandoned: Abandoned = NOTHING_ABANDONED,
    ) -> None:
        try:
            envelope = self._wrapper.open(delivery.data)
        except InvalidInput as error:
            await self._refuse(reply, "", error, lease)
            return
        if envelope.key in self._cancelled and abandoned:
            await self._tell_abandoned(envelope, abandoned)
        if not await self._is_new(envelope.key, reply, lease):
            return
        if len(self._running) >= self._settings.running:
            await self._refuse(reply, envelope.key, Exhausted("too many calls at a time"), lease)
            return
        now = asyncio.get_running_loop().time()
        running = Running(self, envelope.key, reply, now, lease)
        self._running[running.id] = running
        handler = handlers.get(type(envelope.body))
        if handler is not None and not inspect.iscoroutinefunction(handler):
            await self._run(running, envelope, handlers)
        else:
            running.task = tasks.create_task(self._run(running, envelope, handlers), name=f"call {running.id}")

    async def _is_new(self, id: str, reply: str, lease: Lease | None) -> bool:
        """False for repeated and cancelled calls, which are answered here."""
        if (running := self._running.get(id)) is not None:
            running.reply = reply or running.reply
            running.accepted = False  # confirm again
            if lease is not None:  # the former claim has run out: the work stays in the queue until this one is done
                running.lease = lease
            return False
        if id in self._finished:
            if self._finished[id] and reply:
                await self._tell(reply, self._finished[id])
        elif id in self._cancelled:
            await self._refuse(reply, id, Canceled("canceled before it began"), None)
        else:
            return True
        if lease is not None:
            with suppress(Unavailable):
                await lease.done()
        return False

    async def _tell_abandoned(self, envelope: Envelope, abandoned: Abandoned) -> None:
        """Before it leaves the queue, so that who dies here leaves it to the next one."""
        with suppress(BuildmeshError):
            envelope = await self._wrapper.redeem(envelope)
            if envelope.key not in self._running and (tell := abandoned.get(type(envelope.body))) is not None:
                await tell(envelope.body)

    async def _refuse(self, reply: str, id: str, error: BuildmeshError, lease: Lease | None) -> None:
        if reply:
            await self._tell(reply, await self._wrapper.wrap(to_failure(error), key=id, frame=frames.FAILURE))
        if lease is not None:
            with suppress(Unavailable):
                await lease.done()

    async def _run(self, running: Running, envelope: Envelope, handlers: Handlers) -> None:
        try:
            frame, answer = await self._answer(running, envelope, handlers)
        except asyncio.CancelledError:
            await self._interrupted(running)
            if not running.unwanted:
                raise
            return
        finally:
            self._running.pop(running.id, None)
        await self._finish(running, frame, answer)

    async def _answer(self, running: Running, envelope: Envelope, handlers: Handlers) -> tuple[str, Any]:
        try:
            envelope = await self._wrapper.redeem(envelope)
            handler = handlers.get(type(envelope.body))
            if handler is None:
                raise InvalidInput(f"{type(envelope.body).__name__} is not served here")
            with self._tracing.span(type(envelope.body).__name__, envelope.trace):
                answer = handler(envelope.body, running)
                if inspect.isawaitable(answer):
                    answer = await answer
            return frames.RESULT, answer
        except (Exception, BaseExceptionGroup) as error:
            return frames.FAILURE, to_failure(_innermost(error))

    async def _interrupted(self, running: Running) -> None:
        """Cancelled by its caller, or because this process stops: then somebody else shall do it."""
        if running.unwanted:
            await self._finish(running, frames.FAILURE, to_failure(Canceled("canceled by the caller")))
        elif running.lease is not None:
            with suppress(Unavailable):
                await running.lease.give_back()
            await self.send(running, frames.RETURNED, None)
        else:
            await self.send(running, frames.FAILURE, to_failure(CallLost("the server is stopping")))

    async def _finish(self, running: Running, frame: str, answer: Any) -> None:
        if running.disowned:
            return
        try:
            data = await self._wrapper.wrap(answer, key=running.id, frame=frame)
        except (TypeError, ValueError, OverflowError) as error:  # an answer that can't be packed is that call's trouble alone
            data = await self._wrapper.wrap(to_failure(error), key=running.id, frame=frames.FAILURE)
        if running.reply:
            await self._tell(running.reply, data)
        if running.lease is not None:
            with suppress(Unavailable):
                await running.lease.done()
        _remember(self._finished, running.id, data if len(data) <= MAX_KEPT_ANSWER else b"")

    async def send(self, running: Running, frame: str, message: Any) -> None:
        """One frame to the caller; without a reply inbox nobody wants them, and while the bus is away they are lost."""
        if running.reply:
            data = await self._wrapper.wrap(message, key=running.id, frame=frame)
            asked = frame == frames.HEARTBEAT and is_safe_id(running.id)  # ids come from whoever can publish
            unheard = f"{self._inbox}.{frames.ORPHAN}.{running.id}" if asked else ""
            with suppress(Unavailable):
                await self._bus.publish(f"{running.reply}.{self._token}", data, reply=unheard)

    async def _tell(self, reply: str, data: bytes) -> None:
        """An answer, which is worth some patience when the bus is away."""
        for _ in range(ANSWER_TRIES):
            try:
                await self._bus.publish(f"{reply}.{self._token}", data)
                return
            except Unavailable:
                await asyncio.sleep(0.5)

    async def probed(self, id: str, reply: str) -> None:
        """A caller has not heard of this call for a while. (`reply` is where the bus would say that we are gone.)"""
        running = self._running.get(id)
        if running is not None:
            await self.send(running, frames.HEARTBEAT, None)
        elif self._finished.get(id) and reply:
            await self._tell(reply.removesuffix(f".{frames.GONE}"), self._finished[id])

    def unheard(self, id: str) -> None:
        """The caller of `id` is not connected; after a grace nobody will want the answer."""
        running = self._running.get(id)
        if running is not None:
            running.unheard = True

    def _is_orphan(self, running: Running, now: float) -> bool:
        if not running.unheard:
            running.unheard_since = now
        running.unheard = False
        return now - running.unheard_since > self._settings.orphan

    def cancel(self, id: str) -> None:
        """The caller of `id` no longer wants it, wherever it is served."""
        _remember(self._cancelled, id, None)
        running = self._running.get(id)
        if running is not None and running.task is not None and not running.unwanted:
            running.unwanted = True
            running.task.cancel()

    async def tick(self, now: float) -> None:
        """Confirm what takes long, and say each second that it still runs."""
        for running in list(self._running.values()):
            if not running.accepted and now - running.started >= self._settings.accept_after:
                running.accepted, running.beat = True, now
                await self.send(running, frames.ACCEPTED, _taken(running.lease))
            elif now - running.beat >= self._settings.heartbeat:
                running.beat = now
                if self._is_orphan(running, now):
                    self.cancel(running.id)
                    continue
                await self.send(running, frames.HEARTBEAT, None)
                if running.lease is not None:
                    with suppress(Unavailable):
                        await running.lease.keep()


def _taken(lease: Lease | None) -> Taken | None:
    return None if lease is None else Taken(ticket=lease.ticket, attempt=_order(lease))


def _order(lease: Lease) -> int:
    """Later copies of the work come after all deliveries of earlier ones."""
    sends = lease.delivery.headers.get(frames.SENDS, "")
    return lease.attempt + COPIES * (int(sends[:6]) if sends.isdecimal() else 1)


def _innermost(error: BaseException) -> BaseException:
    """A task group's only error stands for the group."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, BaseExceptionGroup):
        known = [e for e in error.exceptions if isinstance(e, BuildmeshError)]
        return known[0] if known else error
    return error


def _remember(table: "OrderedDict[str, Any]", key: str, value: Any) -> None:
    table[key] = value
    if len(table) > REMEMBERED:
        table.popitem(last=False)
