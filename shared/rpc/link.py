"""An HTTP/2 connection with its writer: feeds bytes in, hands events to calls, writes what came of it once per loop turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from shared.http2 import (
    Connection,
    ConnectionEnded,
    DataReceived,
    ErrorCode,
    Event,
    GoAwayReceived,
    HeadersReceived,
    PingAnswered,
    StreamReset,
)

_BATCH = 256 * 1024


class StreamUser(Protocol):
    """What the link tells a call."""

    def on_headers(self, event: HeadersReceived) -> None: ...

    def on_data(self, event: DataReceived) -> None: ...

    def on_reset(self, event: StreamReset) -> None: ...

    def on_lost(self, error: Exception) -> None:
        """The whole connection is gone."""

    def on_drained(self) -> None: ...


class Link:
    """Works over anything that takes bytes: a socket's transport or a session's byte pipe.

    `write` must not block; `blocked` is set by the owner while it would have to buffer too much. `on_end(reason)` is called once.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        write: Callable[[bytes], object],
        on_end: Callable[[str], object],
        accept: Callable[[Link, HeadersReceived], StreamUser | None] | None = None,
    ) -> None:
        self.connection = connection
        self.users: dict[int, StreamUser] = {}
        self.going_away = False
        self._write = write
        self._on_end = on_end
        self._accept = accept
        self._blocked = False
        self._flush_due = False
        self._dead = False
        self._slots: list[asyncio.Future[None]] = []
        self._loop = asyncio.get_running_loop()

    @property
    def dead(self) -> bool:
        return self._dead

    # -- bytes ------------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Bytes came from the peer."""
        for event in self.connection.feed(data):
            self._dispatch(event)
        if self._slots and self.connection.can_open:
            self._free_slots()
        self.flush()

    def schedule_flush(self) -> None:
        """Write at the end of this loop turn, together with whatever else is queued till then."""
        if not self._flush_due and not self._dead:
            self._flush_due = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        self._flush_due = False
        while not self._blocked and not self._dead and (out := self.connection.take(_BATCH)):
            self._write(out)
        for stream_id in self.connection.drained():
            user = self.users.get(stream_id)
            if user is not None:
                user.on_drained()

    def set_blocked(self, blocked: bool) -> None:
        self._blocked = blocked
        if not blocked:
            self.flush()

    def lost(self, error: Exception) -> None:
        """The transport is gone; every call ends with `error`."""
        if self._dead:
            return
        self._dead = True
        users, self.users = list(self.users.values()), {}
        for user in users:
            user.on_lost(error)
        self._free_slots()

    def close(self, code: ErrorCode = ErrorCode.NO_ERROR, reason: str = "") -> None:
        """GOAWAY; the owner then closes its transport."""
        self.connection.close(code, reason)
        self.flush()

    # -- Carrier ----------------------------------------------------------------------------------------------------

    def acknowledge(self, stream_id: int, size: int) -> None:
        self.connection.acknowledge(stream_id, size)
        self.schedule_flush()

    def send_data(self, stream_id: int, data: bytes, *, end_stream: bool = False) -> None:
        self.connection.send_data(stream_id, data, end_stream=end_stream)
        self.schedule_flush()

    def queued(self, stream_id: int) -> int:
        return self.connection.queued(stream_id)

    def watch(self, stream_id: int) -> bool:
        return not self._dead and self.connection.watch(stream_id)

    def reset(self, stream_id: int, code: ErrorCode) -> None:
        self.connection.reset(stream_id, code)
        self.release(stream_id)
        self.schedule_flush()

    def release(self, stream_id: int) -> None:
        """The call is over; late events of its stream go nowhere."""
        self.users.pop(stream_id, None)
        self._free_slots()

    async def wait_slot(self) -> None:
        """Client: until the peer allows another stream, or the link can open none any more."""
        while not self.connection.can_open and not self._dead and not self.going_away:
            slot = self._loop.create_future()
            self._slots.append(slot)
            await slot

    def _free_slots(self) -> None:
        slots, self._slots = self._slots, []
        for slot in slots:
            if not slot.done():
                slot.set_result(None)

    # -- events -----------------------------------------------------------------------------------------------------

    def _dispatch(self, event: Event) -> None:
        match event:
            case DataReceived():
                user = self.users.get(event.stream_id)
                if user is None:
                    self.connection.acknowledge(event.stream_id, event.flow_size)
                else:
                    user.on_data(event)
            case HeadersReceived():
                self._headers(event)
            case StreamReset():
                user = self.users.pop(event.stream_id, None)
                if user is not None:
                    user.on_reset(event)
                self._free_slots()
            case GoAwayReceived():
                self.going_away = True
                self._free_slots()
            case PingAnswered():
                pass
            case ConnectionEnded():
                self.flush()
                self._on_end(event.reason)

    def _headers(self, event: HeadersReceived) -> None:
        user = self.users.get(event.stream_id)
        if user is not None:
            user.on_headers(event)
        elif self._accept is not None and not event.trailing:
            user = self._accept(self, event)
            if user is None:
                return
            self.users[event.stream_id] = user
            user.on_headers(event)
