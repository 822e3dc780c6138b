"""The client's side of a session: a gRPC *server* on the byte pipe of a Control.Session call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from shared.errors import BuildmeshError
from shared.http2 import Limits
from shared.rpc import Call, CallOpener, ClientCall, Handler, Link, Server
from shared.session import bytes_pipe

_METHOD: Final = "/moby.buildkit.v1.Control/Session"
_HEALTH: Final = "/grpc.health.v1.Health/Check"
_SERVING: Final = b"\x08\x01"


async def _health(call: Call) -> None:
    await call.recv()
    await call.send(_SERVING)


@asynccontextmanager
async def attach(peer: CallOpener, session_id: str, routes: Mapping[str, Handler], *, shared_key: str = "") -> AsyncIterator[None]:
    """Serve `routes` to the daemon for as long as the context lasts. Health checks are answered too."""
    server = Server({_HEALTH: _health, **routes}, limits=Limits(max_frame_size=1 << 20))
    pairs = [("x-docker-expose-session-uuid", session_id), ("x-docker-expose-session-sharedkey", shared_key)]
    pairs += [("x-docker-expose-session-grpc-method", method) for method in [_HEALTH, *routes]]
    failure: Exception | None = None
    async with server.serving([]), await peer.open(_METHOD, metadata=pairs) as call, asyncio.TaskGroup() as group:
        pump = group.create_task(_Pipe(server, call).run())
        try:
            yield
        except Exception as error:  # raised again below, as itself and not as a group
            failure = error
        finally:
            call.close_send()
            await asyncio.wait([pump], timeout=2)
            pump.cancel()
    if failure is not None:
        raise failure


class _Pipe:
    """Bytes of the session's call into the inner connection and back."""

    def __init__(self, server: Server, call: ClientCall) -> None:
        self._call = call
        self._blocked = asyncio.Event()
        self._link: Link = server.link(write=self._write, on_end=lambda _: call.close_send())

    async def run(self) -> None:
        self._link.flush()
        unwrap = bytes_pipe.Unwrapper()
        async with asyncio.TaskGroup() as group:
            unblock = group.create_task(self._unblock())
            try:
                while chunk := await self._call.chunk():
                    self._link.receive(unwrap.feed(chunk))
                self._link.lost(BuildmeshError("the daemon has closed the session"))
            except BuildmeshError as error:
                self._link.lost(error)
            unblock.cancel()

    def _write(self, data: bytes) -> None:
        if not self._call.send_soon(bytes_pipe.wrap(data)):
            self._link.set_blocked(True)
            self._blocked.set()

    async def _unblock(self) -> None:
        while True:
            await self._blocked.wait()
            self._blocked.clear()
            try:
                await self._call.drained()
            except BuildmeshError:
                return
            self._link.set_blocked(False)
