"""One question, one answer on a client's session."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Final, TypeVar

from shared.errors import BuildmeshError, Internal
from shared.rpc.framing import MessageReader, frame
from shared.session.ports import SessionLinks

T = TypeVar("T")
PATIENCE: Final = 20.0
"""Seconds in which a session has to answer when there are others to ask."""


async def unary(links: SessionLinks, session_id: str, method: str, request: bytes, *, metadata: Sequence[tuple[str, str]] = ()) -> bytes:
    """Call `method` with the marshaled `request`; the marshaled answer. Raises the peer's error, SessionGone, Unsupported."""
    reader = MessageReader()
    async with links.open(session_id, method, metadata=metadata) as stream:
        await stream.send(frame(request))
        await stream.close_send()
        while chunk := await stream.receive():
            reader.feed(chunk)
    answer = reader.next()
    if answer is None or reader.partial:
        raise Internal(f"malformed answer to {method}")
    return answer


async def answers(sessions: Sequence[str], ask: Callable[[str], Awaitable[T]], patience: float = PATIENCE) -> AsyncIterator[T]:
    """What each session says, in turn (session.Manager.Any). An error, or silence, is passed over as long as there are others to ask:

    a step that several builds have in common is done with the sessions of all, and no client is to fail what another one can have.
    Raises what `ask` raises for the last one.
    """
    for session in sessions:
        last = session == sessions[-1]
        try:
            async with asyncio.timeout(None if last else patience):
                answer = await ask(session)
        except (BuildmeshError, TimeoutError):
            if last:
                raise
            continue
        yield answer
