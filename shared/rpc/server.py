"""The gRPC server: routes, calls as tasks, drain."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from shared.errors import Code, Unavailable, Unsupported
from shared.http2 import Connection, ErrorCode, HeadersReceived, Limits, Role
from shared.rpc import metadata, status
from shared.rpc.call import Call, Handler, Interceptor, Peer, chain
from shared.rpc.link import Link, StreamUser
from shared.rpc.listen import Listener
from shared.rpc.transport import Wire

_TICK: Final = 10.0
"""Seconds between looks at floods and at connections that never said a word."""

_log = logging.getLogger("buildmesh.rpc")


class Server:
    """Serves `routes` (`/package.Service/Method` → handler) on any number of listeners.

    Errors of handlers become statuses (`shared.rpc.status`); an unexpected one is logged and told as INTERNAL. Nothing a
    client sends ends more than its own connection.
    """

    def __init__(
        self,
        routes: Mapping[str, Handler],
        *,
        interceptors: Sequence[Interceptor] = (),
        limits: Limits | None = None,
    ) -> None:
        self._routes = {path: chain(handler, interceptors) for path, handler in routes.items()}
        self._services = {path.rsplit("/", 1)[0] for path in routes}
        self._limits = limits or Limits()
        self._wires: set[Wire] = set()
        self._calls: asyncio.TaskGroup | None = None
        self._running = 0
        self._draining = False
        self._listening = AsyncExitStack()
        self._idle = asyncio.Event()
        self._idle.set()

    @asynccontextmanager
    async def serving(self, listeners: Iterable[Listener]) -> AsyncIterator[None]:
        """Accept connections inside of this context; on leaving it every call still running is cancelled (see `drain`)."""
        loop = asyncio.get_running_loop()
        async with self._listening:
            for listener in listeners:
                await self._listening.enter_async_context(listener.accepting(loop, self._new_wire))
            failure: Exception | None = None
            try:
                async with asyncio.TaskGroup() as group:
                    self._calls = group
                    ticker = group.create_task(self._tick())
                    try:
                        yield
                    except Exception as error:  # raised again below, as itself and not as a group
                        failure = error
                    finally:
                        self._draining = True
                        ticker.cancel()
                        self._close_all()
            finally:
                self._calls = None
            if failure is not None:
                raise failure

    async def drain(self, grace: float) -> bool:
        """Take no new connections, and wait up to `grace` seconds for the running calls; True if all ended.

        Who has a call running may open others: a build needs several. A connection is dismissed when its last one has ended.
        """
        self._draining = True
        for wire in list(self._wires):
            if wire.link is not None and not wire.link.users:
                _dismiss(wire.link)
        try:
            async with asyncio.timeout(grace):
                await self._listening.aclose()
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def statistics(self) -> dict[str, int]:
        return {"connections": len(self._wires), "calls": self._running}

    # -- connections ------------------------------------------------------------------------------------------------

    def _new_wire(self) -> asyncio.Protocol:
        wire = Wire(lambda wire: self.link(write=wire.write, on_end=wire.end, peer=wire.peer()), on_lost=self._wires.discard)
        self._wires.add(wire)
        return wire

    def link(self, *, write: Callable[[bytes], object], on_end: Callable[[str], object], peer: Peer | None = None) -> Link:
        """A connection over something other than a listener's socket, such as a session's pipe; inside of `serving`."""
        connection = Connection(role=Role.SERVER, limits=self._limits)
        if self._draining:
            connection.drain()
        who, running = peer or Peer(address="pipe"), Counter[str]()

        def accept(link: Link, event: HeadersReceived) -> StreamUser | None:
            return self._accept(link, event, running, who)

        return Link(connection, write=write, on_end=on_end, accept=accept)

    def _close_all(self) -> None:
        for wire in list(self._wires):
            if wire.link is not None:
                wire.link.close()
                wire.link.lost(Unavailable("the server is stopping"))
            wire.end("server stopped")

    async def _tick(self) -> None:
        """Floods are counted between ticks; a connection without a handshake lives two of them."""
        silent: set[Wire] = set()
        while True:
            await asyncio.sleep(_TICK)
            for wire in list(self._wires):
                if wire.link is not None:
                    wire.link.connection.relax()
                if (wire.link is None or not wire.link.connection.established) and wire in silent:
                    wire.abort()
            silent = {w for w in self._wires if w.link is None or not w.link.connection.established}

    # -- calls ------------------------------------------------------------------------------------------------------

    def _accept(self, link: Link, event: HeadersReceived, running: Counter[str], peer: Peer) -> StreamUser | None:
        fields = dict(event.headers)
        if running["calls"] >= self._limits.max_streams or self._calls is None:
            link.connection.reset(event.stream_id, ErrorCode.REFUSED_STREAM)
            return None
        wrong = _wrong_request(fields)
        if wrong:
            link.connection.send_headers(event.stream_id, [(b":status", wrong)], end_stream=True)
            return None
        timeout = metadata.parse_timeout(fields.get(b"grpc-timeout", b"").decode("latin-1"))
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        method = fields[b":path"].decode("latin-1")
        call = Call(link, event, peer=peer, method=method, deadline=deadline)
        self._running += 1
        running["calls"] += 1
        self._idle.clear()
        call.task = self._calls.create_task(self._run(call, self._routes.get(method)))
        call.task.add_done_callback(lambda _: self._ended(link, running))
        return call

    def _ended(self, link: Link, running: Counter[str]) -> None:
        self._running -= 1
        running["calls"] -= 1
        if self._draining and not running["calls"]:
            _dismiss(link)
        if not self._running:
            self._idle.set()

    async def _run(self, call: Call, handler: Handler | None) -> None:
        try:
            if handler is None:
                raise self._unknown(call.method)
            if call.deadline is None:
                await handler(call)
            else:
                async with asyncio.timeout_at(call.deadline):
                    await handler(call)
        except asyncio.CancelledError:
            call.abandon(ErrorCode.CANCEL)
            raise
        except Exception as error:
            result = status.status_of(error)
            if result.code is Code.INTERNAL:
                _log.exception("call %s failed", call.method)
            call.finish(result)
        else:
            call.finish(status.OK)

    def _unknown(self, path: str) -> Unsupported:
        service, _, method = path.rpartition("/")
        if service in self._services:
            return Unsupported(f"unknown method {method} for service {service.lstrip('/')}")
        return Unsupported(f"unknown service {service.lstrip('/')}")


def _dismiss(link: Link) -> None:
    """No new calls on this connection."""
    link.connection.drain()
    link.flush()


def _wrong_request(fields: Mapping[bytes, bytes]) -> bytes | None:
    """The HTTP status for what isn't a gRPC request at all."""
    if fields.get(b":method") != b"POST":
        return b"405"
    kind = fields.get(b"content-type", b"")
    if kind != b"application/grpc" and not kind.startswith((b"application/grpc+", b"application/grpc;")):
        return b"415"
    return None
