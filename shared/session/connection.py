"""The daemon's end of one client session: an HTTP/2 *client* over the byte pipe of a Control.Session call (BuildKit session/grpc.go)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from shared.errors import BuildmeshError, SessionGone, Unsupported
from shared.http2 import Connection, Limits, Role
from shared.rpc import Call, CallOpener, ClientCall, Link
from shared.session import bytes_pipe
from shared.session.ports import SessionDescription

_HEALTH: Final = "/grpc.health.v1.Health/Check"
_LIMITS: Final = Limits(stream_window=4 << 20, connection_window=32 << 20, max_frame_size=1 << 20)

_log = logging.getLogger("buildmesh.session")


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthRule:
    """Seconds. Slow links may fail a check, so the time-out grows with the check before (session/grpc.go monitorHealth)."""

    interval: float = 5.0
    timeout: float = 15.0
    strikes: int = 2

    @staticmethod
    def custom(seconds: float) -> HealthRule:
        """What `x-buildkit-session-health-custom-timeout` asks for; 0 = the usual rule."""
        return HealthRule(interval=seconds, timeout=seconds, strikes=1) if seconds else HealthRule()


class CallStream:
    """A ClientCall as the port `SessionStream`."""

    __slots__ = ("_call",)

    def __init__(self, call: ClientCall) -> None:
        self._call = call

    @property
    def headers(self) -> Mapping[str, str]:
        return dict(self._call.headers)

    async def send(self, chunk: bytes) -> None:
        await self._call.send_chunk(chunk)

    async def close_send(self) -> None:
        self._call.close_send()

    async def receive(self) -> bytes:
        return await self._call.chunk()


class SessionConnection:
    """Open calls with `open`; `hold` keeps the connection going for as long as the Session call lives.

    `methods`: what the client serves, lower case. `closed` is set once the session is of no more use.
    """

    def __init__(
        self, *, session_id: str, methods: Collection[str], name: str = "", shared_key: str = "", health: HealthRule | None = None
    ) -> None:
        self.session_id = session_id
        self.methods = frozenset(method.lower() for method in methods)
        self.description = SessionDescription(id=session_id, name=name, shared_key=shared_key, methods=self.methods)
        self.closed = asyncio.Event()
        self._health = health or HealthRule()
        self._link: Link | None = None
        self._calls: CallOpener | None = None
        self._reason = ""
        self._blocked = asyncio.Event()

    def statistics(self) -> dict[str, int]:
        return {} if self._link is None else self._link.connection.statistics()

    @asynccontextmanager
    async def open(self, method: str, *, metadata: Sequence[tuple[str, str]] = ()) -> AsyncIterator[CallStream]:
        """Call `method`; leaving early cancels it. Raises SessionGone, or Unsupported when the client doesn't serve it."""
        if self._calls is None or self.closed.is_set():
            raise SessionGone(f"session {self.session_id} is closed{': ' + self._reason if self._reason else ''}")
        if self.methods and method.lower() not in self.methods and method != _HEALTH:
            raise Unsupported(f"method {method} not supported by the client")
        async with await self._calls.open(method, metadata=metadata) as call:
            yield CallStream(call)

    async def hold(self, call: Call) -> None:
        """Serve as handler of the Control.Session call: returns when the client closes its pipe or the health check fails fatally."""
        link = Link(Connection(role=Role.CLIENT, limits=_LIMITS), write=lambda data: self._write(call, data), on_end=self._end)
        self._link = link
        self._calls = CallOpener(link, authority="localhost")
        link.flush()
        try:
            async with asyncio.TaskGroup() as group:
                work = (self._pump(call), self._check_health(), self._unblock(call))
                tasks = [group.create_task(part) for part in work]
                await self.closed.wait()
                for task in tasks:
                    task.cancel()
        finally:
            self._end("the client has left")
            link.lost(SessionGone(f"session {self.session_id}: {self._reason}"))

    async def _pump(self, call: Call) -> None:
        """Bytes of the pipe into the inner connection, a whole chunk at a time."""
        unwrap = bytes_pipe.Unwrapper()
        try:
            while chunk := await call.chunk():
                data = unwrap.feed(chunk)
                if data and self._link is not None:
                    self._link.receive(data)
            self._end("the client has left")
        except BuildmeshError as error:
            self._end(error.message)

    def _write(self, call: Call, data: bytes) -> None:
        if not call.send_soon(bytes_pipe.wrap(data)) and self._link is not None:
            self._link.set_blocked(True)
            self._blocked.set()

    async def _unblock(self, call: Call) -> None:
        """The inner connection waits while the outer stream is full."""
        while True:
            await self._blocked.wait()
            self._blocked.clear()
            try:
                await call.drained()
            except BuildmeshError:  # the pump hears of it too and ends the session
                return
            if self._link is not None:
                self._link.set_blocked(False)

    def _end(self, reason: str) -> None:
        if not self.closed.is_set():
            self._reason = reason
            self.closed.set()

    async def _check_health(self) -> None:
        rule, failures, last = self._health, 0, 0.0
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(rule.interval)
            started = loop.time()
            error = await self._healthy(max(rule.timeout, last * 1.5))
            last = loop.time() - started
            failures = failures + 1 if error else 0
            if error:
                _log.warning("session %s: health check failed: %s", self.session_id, error)
            if failures >= rule.strikes:
                self._end("session healthcheck failed fatally")

    async def _healthy(self, within: float) -> str:
        """Empty, or what is wrong."""
        assert self._calls is not None
        try:
            async with asyncio.timeout(within):
                await self._calls.unary(_HEALTH, b"", within=within)
        except (BuildmeshError, TimeoutError) as error:
            return str(error) or "timeout"
        return ""
