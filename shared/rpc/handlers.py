"""Typed functions as handlers: protobuf messages (or raw bytes) in and out, one wrapper per kind of call.

    routes = {"/pkg.Service/Get": unary(service.get, pb.GetRequest)}

where `async def get(request: pb.GetRequest, call: Call) -> pb.GetResponse`. With `bytes` as the type, messages pass untouched.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeAlias, TypeVar

from shared.errors import InvalidInput
from shared.rpc.call import Call, Handler


class Message(Protocol):
    """What protobuf's generated classes offer."""

    def SerializeToString(self) -> bytes: ...


Request = TypeVar("Request")
Response: TypeAlias = Message | bytes


def _decoder(kind: type[Request]) -> Callable[[bytes], Request]:
    if kind is bytes:
        return lambda data: data  # type: ignore[return-value]
    parse: Callable[[bytes], Request] = kind.FromString  # type: ignore[attr-defined]

    def decode(data: bytes) -> Request:
        try:
            return parse(data)
        except Exception as error:
            raise InvalidInput(f"request is not a {kind.__name__}: {error}") from None

    return decode


def encode(message: Response) -> bytes:
    return message if isinstance(message, bytes) else message.SerializeToString()


def unary(function: Callable[[Request, Call], Awaitable[Response]], kind: type[Request]) -> Handler:
    decode = _decoder(kind)

    async def handle(call: Call) -> None:
        request = decode(await call.recv_one())
        await call.send(encode(await function(request, call)))

    return handle


def server_stream(function: Callable[[Request, Call], AsyncIterator[Response]], kind: type[Request]) -> Handler:
    decode = _decoder(kind)

    async def handle(call: Call) -> None:
        async for response in function(decode(await call.recv_one()), call):
            await call.send(encode(response))

    return handle


def client_stream(function: Callable[[AsyncIterator[Request], Call], Awaitable[Response]], kind: type[Request]) -> Handler:
    decode = _decoder(kind)

    async def handle(call: Call) -> None:
        await call.send(encode(await function(_decoded(call, decode), call)))

    return handle


def bidi(function: Callable[[AsyncIterator[Request], Call], AsyncIterator[Response]], kind: type[Request]) -> Handler:
    decode = _decoder(kind)

    async def handle(call: Call) -> None:
        async for response in function(_decoded(call, decode), call):
            await call.send(encode(response))

    return handle


async def _decoded(call: Call, decode: Callable[[bytes], Request]) -> AsyncIterator[Request]:
    while (data := await call.recv()) is not None:
        yield decode(data)
