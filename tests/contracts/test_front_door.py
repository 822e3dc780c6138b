"""The front door as real gRPC clients see it: one echo service behind shared.rpc, called by grpcio and by our own client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import grpc.aio
import pytest

from shared.errors import BuildmeshError, Code, NotFound, Unavailable, Unsupported, vertex_detail
from shared.rpc import Call, Server, bidi, client_stream, connect, listen, server_stream, unary

MIB = 1 << 20


class Echo:
    """A service with one method of each kind; `cancelled` tells of handlers that were."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.seen: dict[str, str] = {}

    async def echo(self, request: bytes, call: Call) -> bytes:
        self.seen = dict(call.metadata)
        if request == b"missing":
            raise NotFound("no such thing: é %", details=[vertex_detail("sha256:1")])
        if request == b"bug":
            raise ZeroDivisionError("secret text")
        return request

    async def wait(self, request: bytes, call: Call) -> bytes:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()
        return b""

    async def count(self, request: bytes, call: Call) -> AsyncIterator[bytes]:
        call.send_initial_metadata([("x-first", "1")])
        call.add_trailing_metadata([("x-last", "2")])
        for number in range(int(request)):
            yield b"%d" % number

    async def upper(self, requests: AsyncIterator[bytes], call: Call) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request.upper()

    async def total(self, requests: AsyncIterator[bytes], call: Call) -> bytes:
        return b"%d" % sum([len(request) async for request in requests])


def server_for(echo: Echo) -> Server:
    return Server(
        {
            "/test.Echo/Echo": unary(echo.echo, bytes),
            "/test.Echo/Wait": unary(echo.wait, bytes),
            "/test.Echo/Count": server_stream(echo.count, bytes),
            "/test.Echo/Upper": bidi(echo.upper, bytes),
            "/test.Echo/Total": client_stream(echo.total, bytes),
        }
    )


@pytest.fixture
async def echo() -> Echo:
    return Echo()


@pytest.fixture
async def server(echo: Echo) -> Server:
    return server_for(echo)


@pytest.fixture
async def address(server: Server, tmp_path: Path) -> AsyncIterator[str]:
    async with server.serving([listen(f"unix://{tmp_path}/s.sock")]):
        yield f"unix://{tmp_path}/s.sock"


@pytest.fixture
async def channel(address: str) -> AsyncIterator[grpc.aio.Channel]:
    options = [("grpc.max_receive_message_length", 16 * MIB), ("grpc.max_metadata_size", MIB)]
    async with grpc.aio.insecure_channel(address, options=options) as channel:
        yield channel


async def test_unary(channel: grpc.aio.Channel) -> None:
    """A message comes back, empty and large ones too."""

    call = channel.unary_unary("/test.Echo/Echo")

    for message in (b"", b"hello", b"x" * (15 * MIB)):
        assert message == await call(message)


async def test_error_with_details(channel: grpc.aio.Channel) -> None:
    """An error of our tree arrives with its code, text and details."""

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/test.Echo/Echo")(b"missing")

    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert caught.value.details() == "no such thing: é %"
    packed = dict(caught.value.trailing_metadata() or ())["grpc-status-details-bin"]
    assert b"github.com/moby/buildkit/errdefs.Vertex+json" in packed


async def test_unexpected_error_tells_no_text(channel: grpc.aio.Channel) -> None:
    """A bug in a handler is INTERNAL, and what its exception says stays here."""

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/test.Echo/Echo")(b"bug")

    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in (caught.value.details() or "")


async def test_unknown_method(channel: grpc.aio.Channel) -> None:
    """Method and service that don't exist are UNIMPLEMENTED."""

    for path in ("/test.Echo/Nope", "/test.Nope/Echo"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary(path)(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_streams(channel: grpc.aio.Channel) -> None:
    """Server, client and bidirectional streams keep order and count, beyond the flow-control window."""

    async def requests() -> AsyncIterator[bytes]:
        for number in range(300):
            yield b"%d" % number + b"x" * 10_000

    count = channel.unary_stream("/test.Echo/Count")(b"1000")
    assert [b"%d" % n for n in range(1000)] == [m async for m in count]
    assert dict(await count.initial_metadata())["x-first"] == "1"
    assert dict(await count.trailing_metadata())["x-last"] == "2"

    assert await channel.stream_unary("/test.Echo/Total")(requests()) == b"3000790"
    upper = [m async for m in channel.stream_stream("/test.Echo/Upper")(requests())]
    assert [m.upper() async for m in requests()] == upper


async def test_deadline(channel: grpc.aio.Channel, echo: Echo) -> None:
    """A deadline that passes cancels the handler."""

    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await channel.unary_unary("/test.Echo/Wait")(b"", timeout=0.1)

    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(5):
        await echo.cancelled.wait()


async def test_cancel(channel: grpc.aio.Channel, echo: Echo) -> None:
    """A client that cancels cancels the handler."""

    call = channel.unary_unary("/test.Echo/Wait")(b"")
    async with asyncio.timeout(5):
        await echo.started.wait()
        call.cancel()
        await echo.cancelled.wait()


async def test_big_metadata(channel: grpc.aio.Channel, echo: Echo) -> None:
    """Metadata far beyond a frame arrives whole."""

    await channel.unary_unary("/test.Echo/Echo")(b"", metadata=[("x-big", "v" * 100_000), ("x-small", "s")])

    assert echo.seen["x-big"] == "v" * 100_000
    assert echo.seen["x-small"] == "s"


async def test_drain(channel: grpc.aio.Channel, server: Server, address: str, echo: Echo) -> None:
    """Drain lets the running call end and reports whether all did; who has one running may open more, nobody else may."""

    running = channel.unary_unary("/test.Echo/Wait")(b"")
    async with asyncio.timeout(5):
        await echo.started.wait()

    assert not await server.drain(0.05)
    async with asyncio.timeout(5):
        assert await channel.unary_unary("/test.Echo/Echo")(b"more") == b"more"
        with pytest.raises(Unavailable):
            async with connect(address) as late:
                await late.unary("/test.Echo/Echo", b"late")
    running.cancel()
    assert await server.drain(5)


async def test_own_client(address: str, echo: Echo) -> None:
    """Our client speaks the same protocol as grpcio: values, statuses, details, deadlines, streams."""

    async with connect(address) as peer:
        assert await peer.unary("/test.Echo/Echo", b"hello", metadata=[("X-A", "b")]) == b"hello"
        assert echo.seen["x-a"] == "b"
        with pytest.raises(NotFound) as missing:
            await peer.unary("/test.Echo/Echo", b"missing")
        assert (vertex_detail("sha256:1"),) == missing.value.details
        with pytest.raises(Unsupported):
            await peer.unary("/test.Echo/Nope", b"")
        with pytest.raises(BuildmeshError) as late:
            await peer.unary("/test.Echo/Wait", b"", within=0.05)
        assert late.value.status_code is Code.DEADLINE_EXCEEDED
        async with await peer.open("/test.Echo/Count") as call:
            await call.send(b"20000")
            call.close_send()
            assert len([m async for m in call.messages()]) == 20_000
        assert call.headers.get("x-first") == "1"
        assert call.trailers.get("x-last") == "2"


async def test_own_client_sees_the_server_leave(address: str, server: Server, echo: Echo) -> None:
    """A call that runs when its connection goes ends with an error, not in silence."""

    async with connect(address) as peer:
        call = await peer.open("/test.Echo/Wait")
        await call.send(b"")
        call.close_send()
        await echo.started.wait()
        server._close_all()
        with pytest.raises(BuildmeshError):
            async with asyncio.timeout(5):
                await call.recv()
