"""The gRPC client: calls on a link, and connections to addresses."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Final

from shared.errors import BuildmeshError, Canceled, Code, Exhausted, Internal, InvalidInput, Unavailable
from shared.http2 import Connection, DataReceived, ErrorCode, HeadersReceived, Limits, Role, StreamReset
from shared.rpc import framing, metadata, status
from shared.rpc.exchange import Exchange
from shared.rpc.link import Link
from shared.rpc.metadata import Metadata, Pairs
from shared.rpc.status import Status
from shared.rpc.transport import Wire

_RESETS: Final = {
    ErrorCode.REFUSED_STREAM: Code.UNAVAILABLE,
    ErrorCode.CANCEL: Code.CANCELED,
    ErrorCode.ENHANCE_YOUR_CALM: Code.RESOURCE_EXHAUSTED,
    ErrorCode.INADEQUATE_SECURITY: Code.PERMISSION_DENIED,
}


class ClientCall:
    """One call, from `CallOpener.open`. Reading raises the peer's status as an error of our tree once its data is used up.

    An async context manager: leaving it before the end cancels the call. `chunk`/`send_chunk` move framed bytes as they are.
    """

    def __init__(self, link: Link, stream_id: int, *, limit: int) -> None:
        self.headers: Metadata = Metadata()
        """Response metadata; complete after the first read."""
        self.trailers: Metadata = Metadata()
        self._link = link
        self._exchange = Exchange(link, stream_id, limit=limit)
        self._over = False
        self._send_closed = False
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> ClientCall:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.cancel()

    async def recv(self) -> bytes | None:
        """The next message; None when the peer ended with OK."""
        return await self._exchange.message()

    async def chunk(self) -> bytes:
        """All that is at hand, framed; empty when the peer ended with OK."""
        return await self._exchange.chunk()

    async def messages(self) -> AsyncIterator[bytes]:
        while (message := await self._exchange.message()) is not None:
            yield message

    async def send(self, message: bytes) -> None:
        if len(message) > framing.MAX_MESSAGE:
            raise Exhausted(f"trying to send message larger than max ({len(message)} vs. {framing.MAX_MESSAGE})")
        await self.send_chunk(framing.frame(message))

    async def send_all(self, messages: Iterable[bytes]) -> None:
        await self.send_chunk(framing.frame_all(messages))

    async def send_chunk(self, framed: bytes) -> None:
        """Framed bytes. If the peer has ended the call already, its status is raised, as reading would."""
        await self._exchange.write(framed)

    def send_soon(self, framed: bytes) -> bool:
        """Queue framed bytes without waiting; False = better await `drained` before sending more."""
        return self._exchange.write_soon(framed)

    async def drained(self) -> None:
        """Returns once little of what was sent is still queued."""
        await self._exchange.drain()

    def close_send(self) -> None:
        """Half-close; idempotent."""
        if not self._send_closed and not self._over:
            self._send_closed = True
            self._link.send_data(self._exchange.stream_id, b"", end_stream=True)

    def cancel(self) -> None:
        """Reset the stream unless the call has ended."""
        if not self._over:
            self._finish(Canceled("the call was cancelled"), reset=ErrorCode.CANCEL, at_once=True)

    def set_deadline(self, seconds: float) -> None:
        """Started by `open`; the peer gets the same figure in `grpc-timeout`."""
        self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        error = status.error_of(Status(code=Code.DEADLINE_EXCEEDED, message="context deadline exceeded"))
        self._finish(error, reset=ErrorCode.CANCEL, at_once=True)

    # -- for the link -----------------------------------------------------------------------------------------------

    def on_headers(self, event: HeadersReceived) -> None:
        if event.trailing or event.end_stream:
            self._on_trailers(event)
            return
        fields = dict(event.headers)
        if fields[b":status"] != b"200":
            self._finish(status.error_of(status.from_http(fields[b":status"])), reset=ErrorCode.CANCEL)
            return
        if not fields.get(b"content-type", b"").startswith(b"application/grpc"):
            self._finish(Internal("the peer's answer is not gRPC"), reset=ErrorCode.CANCEL)
            return
        self.headers = metadata.from_headers(event.headers)
        self._exchange.set_encoding(fields.get(b"grpc-encoding", b"").decode("latin-1"))

    def _on_trailers(self, event: HeadersReceived) -> None:
        result = status.from_trailers(event.headers)
        if not event.trailing:
            self.headers = metadata.from_headers(event.headers)
            if result is None:
                result = status.from_http(dict(event.headers)[b":status"])
        self.trailers = metadata.from_headers(event.headers)
        if result is None:
            self._finish(Internal("the peer ended the call without a status"))
        elif result.code is Code.OK:
            self._finish(None)
        else:
            self._finish(status.error_of(result))

    def on_data(self, event: DataReceived) -> None:
        self._exchange.push(event.data, event.flow_size)
        if event.end_stream:
            self._finish(Internal("the peer ended the call without a status"))

    def on_reset(self, event: StreamReset) -> None:
        code = _RESETS.get(event.code, Code.INTERNAL)
        self._finish(status.error_of(Status(code=code, message=f"stream reset by peer: {event.code.name}")))

    def on_lost(self, error: Exception) -> None:
        self._finish(error)

    def on_drained(self) -> None:
        self._exchange.wake_writer()

    def _finish(self, error: Exception | None, *, reset: ErrorCode | None = None, at_once: bool = False) -> None:
        if self._over:
            return
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
        if error is None:
            self._exchange.end()
            self._exchange.wake_writer()
        else:
            self._exchange.fail(error, at_once=at_once)
        # an answer may come before we have said everything: then the rest is not wanted
        self._link.reset(self._exchange.stream_id, reset if reset is not None else ErrorCode.NO_ERROR)


class CallOpener:
    """Opens calls on one link, which may be a socket's or a session's."""

    def __init__(self, link: Link, *, authority: str, secure: bool = False, limit: int = framing.MAX_MESSAGE) -> None:
        self._link = link
        self._limit = limit
        self._fixed = [(b":method", b"POST"), (b":scheme", b"https" if secure else b"http")]
        self._authority = (b":authority", authority.encode())

    @property
    def alive(self) -> bool:
        """Whether new calls can still be opened, now or once others have ended."""
        return not self._link.dead and not self._link.going_away and self._link.connection.ended is None

    async def open(self, method: str, *, metadata: Pairs = (), within: float | None = None) -> ClientCall:
        """Start a call that may take `within` seconds, once the peer allows another stream.

        Raises Unavailable when the link is gone.
        """
        await self._link.wait_slot()
        if not self._link.connection.can_open or self._link.dead:
            raise Unavailable("connection is closed")
        stream_id = self._link.connection.open_stream(self._headers(method, metadata, within))
        call = ClientCall(self._link, stream_id, limit=self._limit)
        self._link.users[stream_id] = call
        if within is not None:
            call.set_deadline(within)
        self._link.schedule_flush()
        return call

    def _headers(self, method: str, pairs: Pairs, within: float | None) -> list[tuple[bytes, bytes]]:
        fields = [*self._fixed, (b":path", method.encode()), self._authority]
        fields += [(b"content-type", b"application/grpc"), (b"user-agent", b"buildmesh"), (b"te", b"trailers")]
        if within is not None:
            fields.append((b"grpc-timeout", metadata.format_timeout(within).encode()))
        return fields + metadata.to_headers(pairs)

    async def unary(self, method: str, request: bytes, *, metadata: Pairs = (), within: float | None = None) -> bytes:
        """One message there, one back. Raises the peer's status as an error of our tree."""
        async with await self.open(method, metadata=metadata, within=within) as call:
            try:
                await call.send(request)
            except BuildmeshError:
                await call.recv()  # the peer's own word on it comes first
                raise
            call.close_send()
            response = await call.recv()
            if response is None:
                raise Internal(f"{method}: the peer sent no response")
            await call.recv()
            return response


@asynccontextmanager
async def connect(
    address: str,
    *,
    tls: ssl.SSLContext | None = None,
    server_name: str = "",
    limits: Limits | None = None,
    within: float = 5.0,
) -> AsyncIterator[CallOpener]:
    """A connection to `unix://path` or `tcp://host:port`. Raises Unavailable when nobody answers.

    With `tls`, its ALPN must offer h2; `server_name` replaces the host in the check and in `:authority`.
    """
    loop = asyncio.get_running_loop()

    def make_link(wire: Wire) -> Link:
        return Link(Connection(role=Role.CLIENT, limits=limits), write=wire.write, on_end=wire.end)

    scheme, _, rest = address.partition("://")
    host, _, port = rest.rpartition(":")
    try:
        async with asyncio.timeout(within):
            match scheme:
                case "unix":
                    _, wire = await loop.create_unix_connection(lambda: Wire(make_link), rest)
                case "tcp":
                    name = (server_name or host) if tls else None
                    bare = host.removeprefix("[").removesuffix("]")
                    _, wire = await loop.create_connection(lambda: Wire(make_link), bare, int(port), ssl=tls, server_hostname=name)
                case _:
                    raise InvalidInput(f"address {address} is neither unix:// nor tcp://")
    except (OSError, TimeoutError) as error:
        raise Unavailable(f"can't connect to {address}: {error or 'timeout'}") from None
    if wire.link is None:
        raise Unavailable(f"can't connect to {address}: {wire.reason}")
    try:
        yield CallOpener(wire.link, authority=server_name or ("localhost" if scheme == "unix" else rest), secure=tls is not None)
    finally:
        wire.link.close()
        wire.end("closed")
