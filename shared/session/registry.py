"""The sessions held in this process, as SessionLinks for everything that runs in it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Final, Protocol

from shared.errors import SessionGone
from shared.session.once import Deliveries, Delivery, unnamed
from shared.session.ports import SessionDescription, SessionStream

WAIT: Final = 5.0
"""Seconds a caller waits for a session that isn't there yet: Solve may arrive before Session."""


class Held(Protocol):
    """What can be held: a client's session (SessionConnection), or a place where one stream is awaited (Landing)."""

    @property
    def session_id(self) -> str: ...

    @property
    def description(self) -> SessionDescription: ...

    def open(self, method: str, *, metadata: Sequence[tuple[str, str]] = ()) -> AbstractAsyncContextManager[SessionStream]: ...


def bare_id(session_id: str) -> str:
    """Without the `prefix:` that ids in LLB attributes may have (session/manager.go)."""
    return session_id.partition(":")[2] or session_id


class SessionRegistry:
    """Implements the port SessionLinks. A second session with the same id replaces the first for new calls."""

    def __init__(self) -> None:
        self._held: dict[str, Held] = {}
        self._deliveries: dict[str, Deliveries] = {}
        self._waiters: list[asyncio.Future[None]] = []

    @contextmanager
    def holding(self, connection: Held) -> Iterator[None]:
        """The session can be found by its id inside of this context."""
        session_id = connection.session_id
        self._held[session_id] = connection
        self._deliveries[session_id] = Deliveries()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        try:
            yield
        finally:
            if self._held.get(session_id) is connection:
                del self._held[session_id], self._deliveries[session_id]

    def find(self, session_id: str) -> Held | None:
        return self._held.get(bare_id(session_id))

    async def wait_for(self, session_id: str, *, within: float = WAIT) -> Held:
        """Raises SessionGone when the session does not come `within` so many seconds."""
        try:
            async with asyncio.timeout(within):
                while (found := self.find(session_id)) is None:
                    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                    self._waiters.append(waiter)
                    await waiter
        except TimeoutError:
            raise SessionGone(f"no active session for {session_id[:80]}: context deadline exceeded") from None
        return found

    @asynccontextmanager
    async def open(self, session_id: str, method: str, *, metadata: Sequence[tuple[str, str]] = ()) -> AsyncIterator[SessionStream]:
        connection = await self.wait_for(session_id)
        name, metadata = unnamed(metadata)
        if not name:
            async with connection.open(method, metadata=metadata) as stream:
                yield stream
            return
        async with self._deliveries[connection.session_id].opening(name) as arrived, connection.open(method, metadata=metadata) as stream:
            yield Delivery(stream, arrived)

    async def describe(self, session_id: str, *, wait: float = WAIT) -> SessionDescription:
        return (await self.wait_for(session_id, within=wait)).description

    def statistics(self) -> dict[str, int]:
        return {"sessions": len(self._held)}
