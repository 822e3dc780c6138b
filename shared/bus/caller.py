"""The asking side of calls: one inbox for all, re-sending, silence, cancel."""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from shared.bus import frames
from shared.bus.frames import CallSettings, Wrapper
from shared.bus.ports import Bus
from shared.errors import BuildmeshError, CallLost, Canceled, InvalidInput, Unavailable
from shared.wire import subjects
from shared.wire.build import Taken
from shared.wire.codec import Envelope
from shared.wire.failure import Failure, from_failure

OnProgress = Callable[[Any], None]

MAX_QUEUES: Final = 100
SOONEST: Final = 0.0005
"""Seconds. A build's first question often overtakes the subscription of the solver that has just taken it, by a millisecond."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """Work in a queue that nobody has taken: how many pieces, and the seconds that the oldest has waited."""

    depth: int
    oldest: float


class OpenCall:
    """A request under way. Times are those of the loop's clock."""

    def __init__(
        self,
        *,
        id: str,
        subject: str,
        data: bytes,
        queued: bool,
        on_progress: OnProgress | None,
        now: float,
        until: float,
        absent: float,
    ) -> None:
        self.id, self.subject, self.data, self.queued, self.on_progress = id, subject, data, queued, on_progress
        self.outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.accepted = False
        self.asked = now
        self.heard = now
        self.until = until
        self.absent = absent
        self.alone_since = 0.0  # when the bus first said that nobody listens
        self.alone_wait = SOONEST  # until it is asked again
        self.sent = now
        self.sends = 1
        self.unsent = True
        self.backlog: deque[Envelope] = deque()
        self.server = ""  # who works on it, as far as we know
        self.ticket = ""  # by which queued work is handed back
        self.attempt = 0  # the delivery that the server works on
        self.lost_at = 0.0  # when its server was given up; 0 once that has been seen to
        self.gone_since = 0.0  # when the bus first said that this server is not connected

    def fail(self, error: BaseException) -> None:
        """End with this error, unless it has ended."""
        if not self.outcome.done():
            self.outcome.set_exception(error)

    def heed(self, envelope: Envelope, server: str, now: float) -> bool:
        """Whether this frame counts. Once a second server has accepted, the first one (paused, cut off) may only still bring the result."""
        stale = self.server not in ("", server) and envelope.frame != frames.RESULT
        if isinstance(envelope.body, Taken):
            stale = stale and envelope.body.attempt <= self.attempt
            self.attempt = max(self.attempt, envelope.body.attempt)
        elif envelope.frame == frames.ACCEPTED:
            stale = False
        if not stale:
            self.server, self.heard, self.alone_since, self.gone_since = server, now, 0.0, 0.0
        return not stale

    def abandon(self) -> None:
        """Its server is gone; whoever takes it next is heard again."""
        self.accepted, self.server, self.gone_since = False, "", 0.0

    def apply(self, envelope: Envelope) -> None:
        """Take one frame whose claim, if any, has been redeemed."""
        if self.outcome.done():
            return
        match envelope.frame:
            case frames.ACCEPTED:
                self.accepted, self.lost_at = True, 0.0
                self.ticket = envelope.body.ticket if isinstance(envelope.body, Taken) else ""
            case frames.HEARTBEAT:
                self.accepted = True
            case frames.RETURNED:
                self.abandon()
            case frames.PROGRESS:
                self.accepted = True
                if self.on_progress is not None:
                    self.on_progress(envelope.body)
            case frames.RESULT:
                self.outcome.set_result(envelope.body)
            case frames.FAILURE if isinstance(envelope.body, Failure):
                self.outcome.set_exception(from_failure(envelope.body))
            case _:
                self.fail(InvalidInput(f"unknown call frame {envelope.frame[:40]!r}"))


class Caller:
    """Sends requests and routes the frames that come back on its inbox."""

    def __init__(self, bus: Bus, wrapper: Wrapper, settings: CallSettings, tasks: asyncio.TaskGroup, inbox: str) -> None:
        self._bus, self._wrapper, self._settings, self._tasks, self._inbox = bus, wrapper, settings, tasks, inbox
        self._open: dict[str, OpenCall] = {}
        self._ticked = 0.0
        self._leaving = False

    def __len__(self) -> int:
        return len(self._open)

    def waiting(self, now: float) -> dict[str, Waiting]:
        """What waits by its queue, `MAX_QUEUES` at most: a client can ask for platforms that don't exist."""
        asked: dict[str, list[float]] = {}
        for call in self._open.values():
            if call.queued and not call.accepted and (call.subject in asked or len(asked) < MAX_QUEUES):
                asked.setdefault(call.subject, []).append(call.asked)
        return {subject: Waiting(depth=len(times), oldest=now - min(times)) for subject, times in asked.items()}

    async def call(
        self, subject: str, request: Any, *, id: str, trace: str, queued: bool, on_progress: OnProgress | None, within: float, absent: float
    ) -> Any:
        """Send, and wait for the result. Leaving early (cancellation) tells the server."""
        data = await self._wrapper.wrap(request, key=id, trace=trace)
        now = asyncio.get_running_loop().time()
        call = OpenCall(
            id=id, subject=subject, data=data, queued=queued, on_progress=on_progress, now=now, until=now + within, absent=absent
        )
        self._open[id] = call
        try:
            await self._send(call)
            return await call.outcome
        except asyncio.CancelledError:
            await self._cancel(id)
            raise
        finally:
            del self._open[id]
            del call  # a failure's traceback has this frame: with the request in it, both would stay until they are collected

    async def _send(self, call: OpenCall) -> None:
        """While the bus can't be reached the request stays unsent; the next tick tries again."""
        reply = f"{self._inbox}.{call.id}"
        try:
            if call.queued:
                await self._bus.enqueue(
                    call.subject, call.data, key=f"{call.id}-{call.sends}", headers={frames.REPLY: reply, frames.SENDS: str(call.sends)}
                )
            else:
                await self._bus.publish(call.subject, call.data, reply=reply)
        except Unavailable:
            call.unsent = True
        else:
            call.unsent = False

    def receive(self, id: str, server: str, data: bytes) -> None:
        """One message from the inbox. A malformed one ends the call that it was meant for."""
        call = self._open.get(id)
        if call is None:
            self._unwanted(id, data)
            return
        now = asyncio.get_running_loop().time()
        if not data:
            self._nobody(call, server, now)
            return
        try:
            envelope = self._wrapper.open(data)
        except InvalidInput as error:
            call.fail(error)
            return
        if not call.heed(envelope, server, now):
            return
        if envelope.claim or call.backlog:
            call.backlog.append(envelope)
            if len(call.backlog) == 1:
                self._tasks.create_task(self._redeem(call), name=f"claims of {call.id}")
        else:
            call.apply(envelope)

    def _unwanted(self, id: str, data: bytes) -> None:
        """Somebody still works for a call that is over: the work was queued twice, or a cancel got lost."""
        with suppress(InvalidInput):
            if data and self._wrapper.open(data).frame in (frames.ACCEPTED, frames.HEARTBEAT):
                self._tasks.create_task(self._cancel(id), name=f"unwanted {id}")

    async def _cancel(self, id: str) -> None:
        if self._leaving:
            return
        with suppress(Unavailable):
            await self._bus.publish(subjects.CANCEL, self._wrapper.bare(frames.CANCEL, id))

    def _nobody(self, call: OpenCall, server: str, now: float) -> None:
        """The bus says that nobody heard the request, or (`gone`) that the server which has it is not connected."""
        if server == frames.GONE:
            call.gone_since = call.gone_since or now
            return
        if call.accepted:
            return
        call.alone_since = call.alone_since or now
        if now - call.alone_since > call.absent:
            call.fail(CallLost(f"nobody listens on {call.subject}"))
            return
        self._tasks.create_task(self._send_soon(call), name=f"nobody for {call.id}")

    async def _send_soon(self, call: OpenCall) -> None:
        """Nobody listens yet: services start in any order."""
        await asyncio.sleep(call.alone_wait)
        call.alone_wait = min(2 * call.alone_wait, self._settings.nobody)
        if not call.outcome.done() and not call.accepted:
            await self._send(call)

    async def _redeem(self, call: OpenCall) -> None:
        """Fetch claims in order; frames that arrive meanwhile wait behind them."""
        while call.backlog:
            try:
                call.apply(await self._wrapper.redeem(call.backlog[0]))
            except BuildmeshError as error:
                call.fail(error)
            call.backlog.popleft()

    async def tick(self, now: float) -> None:
        """Re-send what nobody confirmed, give up what fell silent. That this process stood still or was cut off proves nothing."""
        stood = now - self._ticked - self._settings.tick if self._ticked else 0.0
        stood = stood if self._bus.connected else now
        self._ticked = now
        for call in list(self._open.values()):
            if call.outcome.done():
                continue
            if stood > self._settings.heartbeat:
                call.heard = min(now, call.heard + stood)
            if call.accepted:
                await self._look_after(call, now)
            elif call.queued:
                await self._tick_queued(call, now)
            else:
                await self._tick_unconfirmed(call, now)

    async def _look_after(self, call: OpenCall, now: float) -> None:
        """A server that dies is disconnected at once, which the bus tells; one that is paused or cut off is only silent."""
        quiet = now - call.heard
        if call.gone_since and now - call.gone_since >= self._settings.gone:
            await self._lose(call, f"the server of {call.subject} is gone")
        elif quiet > self._settings.silence:
            await self._lose(call, f"no sign of life for {self._settings.silence:g} s from the server of {call.subject}")
        elif quiet > self._settings.doubt and call.server:
            address = f"{self._bus.inbox_of(call.server)}.{frames.ALIVE}.{call.id}"
            with suppress(Unavailable):
                await self._bus.publish(address, b"", reply=f"{self._inbox}.{call.id}.{frames.GONE}")

    async def _lose(self, call: OpenCall, why: str) -> None:
        """Queued work is handed back for the one who can't do it any more."""
        if not call.queued:
            call.fail(CallLost(why))
            return
        call.abandon()
        call.lost_at = call.heard = asyncio.get_running_loop().time()
        if call.ticket:
            ticket, call.ticket = call.ticket, ""
            with suppress(Unavailable):
                await self._bus.reclaim(ticket)

    async def _tick_unconfirmed(self, call: OpenCall, now: float) -> None:
        if now > call.until:
            call.fail(CallLost(f"nobody answers on {call.subject}"))
        elif now - call.sent >= min(self._settings.resend * 2 ** (call.sends - 1), 4.0):
            call.sent, call.sends = now, call.sends + 1
            await self._send(call)

    async def _tick_queued(self, call: OpenCall, now: float) -> None:
        """A dead server's work is delivered again by the queue; only when the queue has forgotten it, it is queued anew.

        After a loss that is looked at soon: what died may have been the bus as well, with its folder. Two copies do no harm.
        """
        patience = self._settings.forgotten if call.lost_at else self._settings.requeue
        if call.unsent:
            await self._send(call)
        elif now > call.until:
            call.fail(CallLost(f"nobody took the work from {call.subject}"))
        elif now - max(call.heard, call.sent) > patience:
            call.sent, call.lost_at = now, 0.0
            with suppress(Unavailable):
                if await self._bus.depth(call.subject) == 0:
                    call.sends += 1
                    await self._send(call)

    def leave(self) -> None:
        """From now on who is interrupted here cancels nothing."""
        self._leaving = True

    def end(self) -> None:
        """The bus goes away: whoever still waits gets Canceled."""
        for call in self._open.values():
            call.fail(Canceled("the bus is closing"))
