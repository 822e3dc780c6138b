"""Sessions across processes: the gateway that holds a session lends it out over gRPC, others open calls through it.

The relay's call is transparent: the framed bytes of the inner call travel as they are, in chunks of any number of messages, and the
peer's status ends the relay's call. The inner method and metadata go along as metadata of the relay's call.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Final

from shared.errors import Denied, InvalidInput, SessionGone, Unavailable
from shared.rpc import Call, CallOpener, Handler, connect
from shared.session.connection import CallStream
from shared.session.ports import SessionDescription, SessionStream
from shared.session.registry import SessionRegistry, bare_id

OPEN: Final = "/buildmesh.relay.v1.Sessions/Open"
DESCRIBE: Final = "/buildmesh.relay.v1.Sessions/Describe"
_SESSION: Final = "buildmesh-session"
_METHOD: Final = "buildmesh-method"
_METADATA: Final = "buildmesh-metadata"

Locate = Callable[[str, float], Awaitable[str]]
"""Session id and seconds to wait → relay address of its gateway. Raises SessionGone."""


Dial = Callable[[str], AbstractAsyncContextManager[CallOpener]]
"""A relay's address → a connection to it, with the fleet's certificates where it has some."""


def relay_routes(registry: SessionRegistry, trusted: Collection[str] | None = None) -> dict[str, Handler]:
    """What a gateway adds to the server on its internal address. `trusted`: names in the certificates of those who may; None = all."""

    async def open_call(call: Call) -> None:
        session_id, method = call.metadata.get(_SESSION), call.metadata.get(_METHOD)
        async with registry.open(session_id, method, metadata=_inner_metadata(call)) as stream, asyncio.TaskGroup() as group:
            upward = group.create_task(_upward(call, stream))
            await _downward(call, stream)
            upward.cancel()

    async def describe(call: Call) -> None:
        session_id, wait = _question(await call.recv_one())
        found = await registry.describe(session_id, wait=wait)
        told = {"id": found.id, "name": found.name, "shared_key": found.shared_key, "methods": sorted(found.methods)}
        await call.send(json.dumps(told).encode())

    return {OPEN: _only(trusted, _ungrouped(open_call)), DESCRIBE: _only(trusted, describe)}


def _only(trusted: Collection[str] | None, handler: Handler) -> Handler:
    """Secrets are read over sessions: a part of the fleet that has no business there is refused, whatever its certificate."""

    async def handle(call: Call) -> None:
        if trusted is not None and call.peer.common_name not in trusted:
            raise Denied(f"{call.peer.common_name[:60]!r} may not use sessions")
        await handler(call)

    return handle


def _ungrouped(handler: Handler) -> Handler:
    """The first error itself instead of the group around it, so that its status can be told."""

    async def handle(call: Call) -> None:
        try:
            await handler(call)
        except ExceptionGroup as group:
            raise group.exceptions[0] from None

    return handle


def _question(message: bytes) -> tuple[str, float]:
    try:
        request = json.loads(message)
        return str(request["session"]), min(max(float(request["wait"]), 0.0), 60.0)
    except (ValueError, TypeError, KeyError):
        raise InvalidInput("malformed question about a session") from None


def _inner_metadata(call: Call) -> list[tuple[str, str]]:
    try:
        pairs = json.loads(call.metadata.get(_METADATA, "[]"))
        return [(str(key), str(value)) for key, value in pairs]
    except (ValueError, TypeError):
        raise InvalidInput("malformed metadata of a relayed call") from None


async def _upward(call: Call, stream: SessionStream) -> None:
    while chunk := await call.chunk():
        await stream.send(chunk)
    await stream.close_send()


async def _downward(call: Call, stream: SessionStream) -> None:
    chunk = await stream.receive()
    call.send_initial_metadata(list(stream.headers.items()))
    while chunk:
        await call.send_chunk(chunk)
        chunk = await stream.receive()


class RelayLinks:
    """SessionLinks of a process that holds no sessions (or not this one): keeps one connection per gateway.

    `local` is asked first, for a gateway's own sessions. Use inside `running()`.
    """

    def __init__(self, locate: Locate, *, local: SessionRegistry | None = None, dial: Dial = connect) -> None:
        self._locate, self._dial = locate, dial
        self.local = local
        self._peers: dict[str, CallOpener] = {}
        self._stack = AsyncExitStack()
        self._dialing = asyncio.Lock()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._stack:
            yield

    @asynccontextmanager
    async def open(self, session_id: str, method: str, *, metadata: Sequence[tuple[str, str]] = ()) -> AsyncIterator[SessionStream]:
        if self.local is not None and self.local.find(session_id) is not None:
            async with self.local.open(session_id, method, metadata=metadata) as stream:
                yield stream
            return
        peer = await self._peer(await self._locate(bare_id(session_id), 5.0))
        own = [(_SESSION, bare_id(session_id)), (_METHOD, method), (_METADATA, json.dumps(list(metadata)))]
        async with await peer.open(OPEN, metadata=own) as call:
            yield CallStream(call)

    async def describe(self, session_id: str, *, wait: float = 5.0) -> SessionDescription:
        if self.local is not None and (held := self.local.find(session_id)) is not None:
            return held.description
        peer = await self._peer(await self._locate(bare_id(session_id), wait))
        request = json.dumps({"session": bare_id(session_id), "wait": wait}).encode()
        told = json.loads(await peer.unary(DESCRIBE, request, within=wait + 5))
        return SessionDescription(id=told["id"], name=told["name"], shared_key=told["shared_key"], methods=frozenset(told["methods"]))

    async def _peer(self, address: str) -> CallOpener:
        async with self._dialing:
            peer = self._peers.get(address)
            if peer is None or not peer.alive:
                try:
                    peer = await self._stack.enter_async_context(self._dial(address))
                except Unavailable as error:
                    raise SessionGone(f"gateway of the session can't be reached: {error.message}") from None
                self._peers[address] = peer
            return peer
