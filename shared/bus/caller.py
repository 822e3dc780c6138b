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
from shared.wire.codec import Envelope
from shared.wire.failure import Failure, from_failure

OnProgress = Callable[[Any], None]

MAX_QUEUES: Final = 100


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
        self.sent = now
        self.sends = 1
        self.unsent = True
        self.backlog: deque[Envelope] = deque()

    def fail(self, error: BaseException) -> None:
        """End with this error, unless it has ended."""
        if not self.outcome.done():
            self.outcome.set_exception(error)

    def apply(self, envelope: Envelope) -> None:
        """Take one frame whose claim, if any, has been redeemed."""
        if self.outcome.done():
            return
        match envelope.frame:
            case frames.ACCEPTED | frames.HEARTBEAT:
                self.accepted = True
            case frames.RETURNED:
                self.accepted = False
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
            with suppress(Unavailable):
                await self._bus.publish(subjects.CANCEL, self._wrapper.bare(frames.CANCEL, id))
            raise
        finally:
            del self._open[id]

    async def _send(self, call: OpenCall) -> None:
        """While the bus can't be reached the request stays unsent; the next tick tries again."""
        reply = f"{self._inbox}.{call.id}"
        try:
            if call.queued:
                await self._bus.enqueue(call.subject, call.data, key=f"{call.id}-{call.sends}", headers={frames.REPLY: reply})
            else:
                await self._bus.publish(call.subject, call.data, reply=reply)
        except Unavailable:
            call.unsent = True
        else:
            call.unsent = False

    def receive(self, subject: str, data: bytes) -> None:
        """One message from the inbox. A malformed one ends the call that it was meant for."""
        call = self._open.get(subject.rpartition(".")[2])
        if call is None:
            return
        if not data:
            now = asyncio.get_running_loop().time()
            call.alone_since = call.alone_since or now
            if now - call.alone_since > call.absent:
                call.fail(CallLost(f"nobody listens on {call.subject}"))
                return
            self._tasks.create_task(self._send_soon(call), name=f"nobody for {call.id}")
            return
        call.heard = asyncio.get_running_loop().time()
        call.alone_since = 0.0
        try:
            envelope = self._wrapper.open(data)
        except InvalidInput as error:
            call.fail(error)
            return
        if envelope.claim or call.backlog:
            call.backlog.append(envelope)
            if len(call.backlog) == 1:
                self._tasks.create_task(self._redeem(call), name=f"claims of {call.id}")
        else:
            call.apply(envelope)

    async def _send_soon(self, call: OpenCall) -> None:
        """Nobody listens yet: services start in any order."""
        await asyncio.sleep(self._settings.nobody)
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
        """Re-send what nobody confirmed, give up what fell silent."""
        for call in list(self._open.values()):
            if call.outcome.done():
                continue
            if call.queued:
                await self._tick_queued(call, now)
            elif call.accepted and now - call.heard > self._settings.silence:
                call.fail(CallLost(f"no sign of life for {self._settings.silence:g} s from the server of {call.subject}"))
            elif not call.accepted:
                await self._tick_unconfirmed(call, now)

    async def _tick_unconfirmed(self, call: OpenCall, now: float) -> None:
        if now > call.until:
            call.fail(CallLost(f"nobody answers on {call.subject}"))
        elif now - call.sent >= min(self._settings.resend * 2 ** (call.sends - 1), 4.0):
            call.sent, call.sends = now, call.sends + 1
            await self._send(call)

    async def _tick_queued(self, call: OpenCall, now: float) -> None:
        """A dead server's work is delivered again by the queue; only when the queue has forgotten it, it is queued anew."""
        if call.accepted and now - call.heard > self._settings.silence:
            call.accepted = False
        if call.accepted:
            return
        if call.unsent:
            await self._send(call)
        elif now > call.until:
            call.fail(CallLost(f"nobody took the work from {call.subject}"))
        elif now - max(call.heard, call.sent) > self._settings.requeue:
            call.sent = now
            if await self._bus.depth(call.subject) == 0:
                call.sends += 1
                await self._send(call)

    def end(self) -> None:
        """The bus goes away: whoever still waits gets Canceled."""
        for call in self._open.values():
            call.fail(Canceled("the bus is closing"))
