"""A call as its handler on the server sees it."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final, TypeAlias

from shared.errors import Canceled, Exhausted, InvalidInput, Unavailable
from shared.http2 import DataReceived, ErrorCode, HeadersReceived, StreamReset, encode_headers
from shared.rpc import framing, metadata, status
from shared.rpc.exchange import Exchange
from shared.rpc.link import Link
from shared.rpc.metadata import Metadata, Pairs
from shared.rpc.status import Status

_RESPONSE: Final = [(b":status", b"200"), (b"content-type", b"application/grpc")]
_RESPONSE_BLOCK: Final = encode_headers(_RESPONSE)
_OK_BLOCK: Final = encode_headers([(b"grpc-status", b"0")])


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """Who calls: `address` for logs; `common_name` of a verified client certificate, else empty."""

    address: str
    common_name: str = ""


class Call:
    """One RPC in progress. Messages are bytes; `chunk`/`send_chunk` move raw framed bytes without a step per message.

    The handler is cancelled when the client resets the call, leaves, or the deadline passes.
    """

    def __init__(self, link: Link, event: HeadersReceived, *, peer: Peer, method: str, deadline: float | None) -> None:
        self.method = method
        self.metadata: Metadata = metadata.from_headers(event.headers)
        self.peer = peer
        self.deadline = deadline
        """Loop time, or None."""
        self.task: asyncio.Task[None] | None = None
        self._link = link
        self._exchange = Exchange(link, event.stream_id)
        self._exchange.set_encoding(next((v.decode("latin-1") for k, v in event.headers if k == b"grpc-encoding"), ""))
        self._headers_sent = False
        self._initial: list[tuple[bytes, bytes]] = []
        self._trailing: list[tuple[bytes, bytes]] = []
        self._finished = False

    # -- for handlers -----------------------------------------------------------------------------------------------

    async def recv(self) -> bytes | None:
        """The next message; None once the client has half-closed."""
        return await self._exchange.message()

    async def announced(self) -> int:
        """How many bytes the next message takes at most, as soon as it has begun; 0 at the end. It is left where it is."""
        return await self._exchange.announced()

    async def recv_one(self) -> bytes:
        """The single request message of a unary or server-streaming call."""
        message = await self._exchange.message()
        if message is None:
            raise InvalidInput("call without a request message")
        return message

    async def messages(self) -> AsyncIterator[bytes]:
        while (message := await self._exchange.message()) is not None:
            yield message

    async def chunk(self) -> bytes:
        """Whatever has arrived, still framed, message borders anywhere; empty at the end."""
        return await self._exchange.chunk()

    def send_initial_metadata(self, pairs: Pairs = ()) -> None:
        """Send the response headers now; later calls do nothing."""
        if self._headers_sent:
            return
        self._headers_sent = True
        fields = [*self._initial, *metadata.to_headers(pairs)]
        block = encode_headers([*_RESPONSE, *fields]) if fields else _RESPONSE_BLOCK
        self._link.connection.send_block(self._exchange.stream_id, block)
        self._link.schedule_flush()

    def add_initial_metadata(self, pairs: Pairs) -> None:
        """To go with the headers, whenever these are sent."""
        self._initial += metadata.to_headers(pairs)

    def add_trailing_metadata(self, pairs: Pairs) -> None:
        self._trailing += metadata.to_headers(pairs)

    async def send(self, message: bytes) -> None:
        """One message; waits while the client reads slowly."""
        if len(message) > framing.MAX_MESSAGE:
            raise Exhausted(f"trying to send message larger than max ({len(message)} vs. {framing.MAX_MESSAGE})")
        self.send_initial_metadata()
        await self._exchange.write(framing.frame(message))

    async def send_all(self, messages: Iterable[bytes]) -> None:
        """Many small messages at once."""
        await self.send_chunk(framing.frame_all(messages))

    async def send_chunk(self, framed: bytes) -> None:
        """Bytes that are framed already."""
        self.send_initial_metadata()
        await self._exchange.write(framed)

    def send_soon(self, framed: bytes) -> bool:
        """Queue framed bytes without waiting; False = better await `drained` before sending more."""
        self.send_initial_metadata()
        return self._exchange.write_soon(framed)

    async def drained(self) -> None:
        """Returns once little of what was sent is still queued."""
        await self._exchange.drain()

    def time_left(self) -> float | None:
        """Seconds until the deadline, at least 0; None without one."""
        return None if self.deadline is None else max(self.deadline - asyncio.get_running_loop().time(), 0.0)

    # -- for the server ---------------------------------------------------------------------------------------------

    def finish(self, result: Status) -> None:
        """Trailers; once."""
        if self._finished:
            return
        self._finished = True
        stream_id, connection = self._exchange.stream_id, self._link.connection
        if result is status.OK and not self._trailing:
            self.send_initial_metadata()
            connection.send_block(stream_id, _OK_BLOCK, end_stream=True)
        else:
            fields = [*status.to_trailers(result), *self._trailing]
            head = [] if self._headers_sent else [*_RESPONSE, *self._initial]
            connection.send_headers(stream_id, head + fields, end_stream=True)
        self._link.release(stream_id)
        self._link.schedule_flush()

    def abandon(self, code: ErrorCode) -> None:
        """End without trailers."""
        if not self._finished:
            self._finished = True
            self._link.reset(self._exchange.stream_id, code)

    # -- for the link -----------------------------------------------------------------------------------------------

    def on_headers(self, event: HeadersReceived) -> None:
        if event.end_stream:
            self._exchange.end()

    def on_data(self, event: DataReceived) -> None:
        self._exchange.push(event.data, event.flow_size)
        if event.end_stream:
            self._exchange.end()

    def on_reset(self, event: StreamReset) -> None:
        self._cancel(Canceled("the client cancelled the call"))

    def on_lost(self, error: Exception) -> None:
        self._cancel(error)

    def on_drained(self) -> None:
        self._exchange.wake_writer()

    def _cancel(self, error: Exception) -> None:
        self._finished = True
        self._exchange.fail(error, at_once=True)
        if self.task is not None:
            self.task.cancel()


Handler: TypeAlias = Callable[[Call], Awaitable[None]]
Interceptor: TypeAlias = Callable[[Call, Handler], Awaitable[None]]


def chain(handler: Handler, interceptors: Iterable[Interceptor]) -> Handler:
    """`handler` inside of all interceptors, the first of which is outermost."""
    for interceptor in reversed(list(interceptors)):
        handler = functools.partial(_apply, interceptor, handler)
    return handler


def _apply(interceptor: Interceptor, handler: Handler, call: Call) -> Awaitable[None]:
    return interceptor(call, handler)


def gone(reason: str) -> Unavailable:
    return Unavailable(f"connection closed: {reason}" if reason else "connection closed")
