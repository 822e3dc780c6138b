"""One call's two directions on a link: what came and waits to be taken, and the way out under flow control."""

from __future__ import annotations

import asyncio
from typing import Protocol

from shared.rpc import framing

HIGH_WATER = 256 * 1024
"""A writer waits once so many bytes of its stream are queued."""


class Carrier(Protocol):
    """The link as a call sees it."""

    def acknowledge(self, stream_id: int, size: int) -> None: ...

    def send_data(self, stream_id: int, data: bytes, *, end_stream: bool = False) -> None: ...

    def queued(self, stream_id: int) -> int: ...

    def watch(self, stream_id: int) -> bool: ...


class Exchange:
    """Filled by the link's callbacks, emptied by one reader; any number of writers."""

    __slots__ = ("_carrier", "_chunks", "_ended", "_failure", "_flow_size", "_read_waiter", "_reader", "_write_waiters", "stream_id")

    def __init__(self, carrier: Carrier, stream_id: int, *, limit: int = framing.MAX_MESSAGE) -> None:
        self.stream_id = stream_id
        self._carrier = carrier
        self._chunks: list[bytes] = []
        self._flow_size = 0
        self._ended = False
        self._failure: Exception | None = None
        self._read_waiter: asyncio.Future[None] | None = None
        self._write_waiters: list[asyncio.Future[None]] = []
        self._reader = framing.MessageReader(limit)

    # -- the link calls these

    def push(self, data: bytes, flow_size: int) -> None:
        self._chunks.append(data)
        self._flow_size += flow_size
        self._wake_reader()

    def end(self) -> None:
        """No more will come."""
        self._ended = True
        self._wake_reader()

    def fail(self, error: Exception, *, at_once: bool) -> None:
        """The call is over with `error`; unless `at_once`, the reader first gets what had come before."""
        if self._failure is None:
            self._failure = error
        if at_once:
            self._chunks.clear()
        self._ended = True
        self._wake_reader()
        self.wake_writer()

    def wake_writer(self) -> None:
        waiters, self._write_waiters = self._write_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _wake_reader(self) -> None:
        if self._read_waiter is not None and not self._read_waiter.done():
            self._read_waiter.set_result(None)

    # -- the call's user calls these

    @property
    def ended(self) -> bool:
        return self._ended and not self._chunks

    def set_encoding(self, encoding: str) -> None:
        self._reader.encoding = encoding

    async def chunk(self) -> bytes:
        """All bytes at hand, framed; empty at the end. Raises what `fail` was given."""
        if self._reader.partial:
            return self._reader.rest()
        return await self._next()

    async def announced(self) -> int:
        """How many bytes the next message takes at most, as soon as it has begun; 0 at the end."""
        while (size := self._reader.announced()) is None:
            chunk = await self._next()
            if not chunk:
                return 0
            self._reader.feed(chunk)
        return size

    async def message(self) -> bytes | None:
        """The next message, None at the end."""
        while True:
            message = self._reader.next()
            if message is not None:
                return message
            chunk = await self._next()
            if not chunk:
                return None
            self._reader.feed(chunk)

    async def _next(self) -> bytes:
        while not self._chunks:
            if self._failure is not None:
                raise self._failure
            if self._ended:
                return b""
            self._read_waiter = asyncio.get_running_loop().create_future()
            try:
                await self._read_waiter
            finally:
                self._read_waiter = None
        out = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        size, self._flow_size = self._flow_size, 0
        self._carrier.acknowledge(self.stream_id, size)
        return out or await self._next()  # an empty DATA frame carries only the end

    async def write(self, framed: bytes) -> None:
        """Queue bytes and wait while the peer lags behind."""
        if self._failure is not None:
            raise self._failure
        self._carrier.send_data(self.stream_id, framed)
        if self._carrier.queued(self.stream_id) > HIGH_WATER:
            await self.drain()

    def write_soon(self, framed: bytes) -> bool:
        """Queue bytes without waiting; False once the writer should await `drain` before more."""
        self._carrier.send_data(self.stream_id, framed)
        return self._carrier.queued(self.stream_id) <= HIGH_WATER

    async def drain(self) -> None:
        """Wait while the peer lags behind."""
        while self._carrier.queued(self.stream_id) > HIGH_WATER and self._carrier.watch(self.stream_id):
            waiter = asyncio.get_running_loop().create_future()
            self._write_waiters.append(waiter)
            await waiter
        if self._failure is not None:
            raise self._failure
