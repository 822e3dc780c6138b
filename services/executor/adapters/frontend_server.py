"""A frontend's process served over its pipes: HTTP/2 in, what it prints out of the way, its end awaited (serveLLBBridgeForwarder).

What it sends is hostile input: frames and floods are held back by shared.http2, calls by number (`_CALLS`), pace (`_RATE`)
and size (`_LARGE_TOGETHER`), what it prints by `_QUIET`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from services.executor.adapters.container import Running
from services.executor.adapters.descriptors import read_some, write_all
from services.executor.adapters.process_streams import Streams
from shared.bridge.service import SERVICE
from shared.errors import BuildFailed
from shared.http2 import Limits
from shared.rpc import Call, Handler, Interceptor, Link, Server
from shared.telemetry import Log

__all__ = ["serve"]

_CALLS: Final = 64
"""Calls of one frontend that are being answered; more wait."""
_LIMITS: Final = Limits(max_streams=1024, stream_window=65_535, max_unread=80 << 20)
"""All streams together can't leave so much unread that the one that is being read gets nothing more."""
_BURST: Final = 2000
_RATE: Final = 200.0
"""Calls that are answered as fast as we can, and how many a second afterwards: what one asks without end costs others no more than that."""
_LARGE: Final = 64 << 10
_LARGE_TOGETHER: Final = 64 << 20
"""Bytes of larger messages that are being answered; each of them is in memory several times meanwhile."""
_RELAX: Final = 10.0
_QUIET: Final = 1 << 20
"""Bytes that a frontend may print before it is read more slowly."""
_SHOWN: Final = 4096


async def serve(running: Running, streams: Streams, routes: Mapping[str, Handler], log: Log) -> tuple[int, str]:
    """Answer its calls until it ends: the exit code, and why the connection ended when that came first (then it is killed)."""
    pipe = _Pipe(streams)
    server = Server({**routes, **_HEALTH}, interceptors=[_some_at_a_time()], limits=_LIMITS)
    async with server.serving([]):
        link = server.link(write=pipe.write, on_end=pipe.end)
        async with asyncio.TaskGroup() as tasks:
            work = [
                tasks.create_task(pipe.read(link), name="frontend reads"),
                tasks.create_task(pipe.pump(link), name="frontend writes"),
                tasks.create_task(_relax(link), name="frontend limits"),
                tasks.create_task(_stderr(streams, log), name="frontend stderr"),
                tasks.create_task(_killed_when(pipe.ended, running), name="frontend end"),
            ]
            link.flush()
            code = await running.child.wait_process()
            for task in work:
                task.cancel()
        link.lost(BuildFailed("the frontend has ended"))
    return code, pipe.reason


async def _stderr(streams: Streams, log: Log) -> None:
    """The end of it goes to the log; a frontend that only prints gets to wait."""
    kept, total = b"", 0
    try:
        while data := await read_some(streams.sinks[2]):
            kept, total = (kept + data)[-_SHOWN:], total + len(data)
            if total > _QUIET:
                await asyncio.sleep(0.005)
    finally:
        if kept:
            text = "".join(char for char in kept.decode("utf-8", "replace") if char.isprintable() or char == "\n")
            log.info("a frontend said", text=text, bytes=total)


class _Pipe:
    """The bytes of the connection. What can't be written yet waits, and with it everything that would add to it."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._waiting: list[bytes] = []
        self._wake = asyncio.Event()
        self.ended = asyncio.Event()
        self.reason = ""

    def write(self, data: bytes) -> None:
        self._waiting.append(data)
        self._wake.set()

    def end(self, reason: str) -> None:
        """The protocol is over before the process is."""
        self.reason = self.reason or reason or "the connection ended"
        self.ended.set()

    async def read(self, link: Link) -> None:
        """Until the process closes its stdout: it may still end well."""
        while data := await read_some(self._streams.sinks[1]):
            link.receive(data)
            await asyncio.sleep(0)

    async def pump(self, link: Link) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            link.set_blocked(True)
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                if not await write_all(self._streams.source, b"".join(waiting)):
                    return  # it reads no more; its end will tell
            link.set_blocked(False)


async def _killed_when(ended: asyncio.Event, running: Running) -> None:
    await ended.wait()
    await running.kill()


async def _relax(link: Link) -> None:
    while True:
        await asyncio.sleep(_RELAX)
        link.connection.relax()


class _Pace:
    """Lets so many pass at once, and then so many a second."""

    def __init__(self, burst: int, rate: float) -> None:
        self._left, self._burst, self._rate = float(burst), burst, rate
        self._asked = asyncio.get_running_loop().time()

    async def turn(self) -> None:
        now = asyncio.get_running_loop().time()
        self._left = min(self._left + (now - self._asked) * self._rate, self._burst) - 1
        self._asked = now
        if self._left < 0:
            await asyncio.sleep(-self._left / self._rate)


class _Budget:
    """So many bytes may be held together; who wants more waits."""

    def __init__(self, size: int) -> None:
        self._size = self._left = size
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def hold(self, size: int) -> AsyncIterator[None]:
        size = min(size, self._size)
        async with self._changed:
            await self._changed.wait_for(lambda: self._left >= size)
            self._left -= size
        try:
            yield
        finally:
            self._left += size
            async with self._changed:
                self._changed.notify_all()


def _some_at_a_time() -> Interceptor:
    slots, pace, budget = asyncio.Semaphore(_CALLS), _Pace(_BURST, _RATE), _Budget(_LARGE_TOGETHER)

    async def limit(call: Call, handler: Handler) -> None:
        if call.method == SERVICE + "ExecProcess":  # lasts as long as processes do
            await handler(call)
            return
        async with slots:
            await pace.turn()
            size = await call.announced()
            if size <= _LARGE:
                await handler(call)
                return
            async with budget.hold(size):
                await handler(call)

    return limit


async def _healthy(call: Call) -> None:
    await call.recv_one()
    await call.send(b"\x08\x01")  # HealthCheckResponse{status: SERVING}


_HEALTH: Final[dict[str, Handler]] = {"/grpc.health.v1.Health/Check": _healthy}
