"""A place where another service opens one stream to this process: found like a client's session, by an id that nobody can guess.

Whoever asks for something that streams (a process in a container, say) makes a Landing, sends its id along with the order and
awaits `arrival`; whoever carries out the order opens the stream through SessionLinks, which finds its way from any process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from shared.errors import BuildmeshError, SessionGone
from shared.session.ports import SessionDescription, SessionStream

HIGH_WATER: Final = 256 << 10
"""A sender waits once so many bytes lie unread."""


class _Lane:
    """One direction: chunks, then an end or an error."""

    __slots__ = ("_chunks", "_end", "_error", "_size", "_wake")

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._end = False
        self._error: BuildmeshError | None = None
        self._wake: list[asyncio.Future[None]] = []

    def end(self, error: BuildmeshError | None = None) -> None:
        """No more comes; whoever still sends is told."""
        if not self._end:
            self._end, self._error = True, error
            self._changed()

    async def put(self, chunk: bytes) -> None:
        while self._size > HIGH_WATER and not self._end:
            await self._change()
        if self._end:
            raise self._error or SessionGone("the stream has ended")
        self._chunks.append(chunk)
        self._size += len(chunk)
        self._changed()

    async def take(self) -> bytes:
        while not self._chunks and not self._end:
            await self._change()
        if not self._chunks:
            if self._error is not None:
                raise self._error
            return b""
        out = b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        self._changed()
        return out

    async def _change(self) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._wake.append(waiter)
        await waiter

    def _changed(self) -> None:
        waiters, self._wake = self._wake, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class StreamEnd:
    """One end of a stream within this process; implements SessionStream."""

    def __init__(self, incoming: _Lane, outgoing: _Lane) -> None:
        self._incoming, self._outgoing = incoming, outgoing

    @property
    def headers(self) -> Mapping[str, str]:
        return {}

    async def send(self, chunk: bytes) -> None:
        """Waits while the other end lags behind. Raises SessionGone when it has left."""
        if chunk:
            await self._outgoing.put(chunk)

    async def close_send(self) -> None:
        self._outgoing.end()

    async def receive(self) -> bytes:
        return await self._incoming.take()

    def leave(self, error: BuildmeshError | None = None) -> None:
        """This end is done: the other one reads what was sent, then the end (or `error`), and can send no more."""
        self._outgoing.end(error)
        self._incoming.end(error or SessionGone("the stream has ended"))


class Landing:
    """Takes one stream. Hold it in a SessionRegistry while it is wanted."""

    def __init__(self, id: str) -> None:
        self.session_id = id
        self.description = SessionDescription(id=id)
        self._arrived: asyncio.Future[StreamEnd] = asyncio.get_running_loop().create_future()

    async def arrival(self) -> StreamEnd:
        """Our end of the stream, once it has been opened."""
        return await asyncio.shield(self._arrived)

    def close(self) -> None:
        """Nobody reads any more: the other end is told."""
        if self._arrived.done() and not self._arrived.cancelled():
            self._arrived.result().leave()
        self._arrived.cancel()

    @asynccontextmanager
    async def open(self, method: str, *, metadata: Sequence[tuple[str, str]] = ()) -> AsyncIterator[SessionStream]:
        """The other end. Raises SessionGone when the stream is taken already, or not wanted any more."""
        if self._arrived.done():
            raise SessionGone(f"stream {self.session_id} is taken")
        up, down = _Lane(), _Lane()
        self._arrived.set_result(StreamEnd(up, down))
        theirs = StreamEnd(down, up)
        try:
            yield theirs
        except BuildmeshError as error:
            theirs.leave(error)
            raise
        except BaseException:
            theirs.leave(SessionGone(f"stream {self.session_id} broke off"))
            raise
        else:
            theirs.leave()
