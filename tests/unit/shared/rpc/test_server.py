"""The server against peers that are no gRPC clients, and its own book-keeping."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.http2 import Connection, HeadersReceived, Limits, Role, StreamReset
from shared.rpc import Call, Handler, Server, connect, listen, unary


async def echo(request: bytes, call: Call) -> bytes:
    return request


@pytest.fixture
async def held() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture
async def three() -> asyncio.Barrier:
    """Passed once three calls of Hold run together with the test."""
    return asyncio.Barrier(4)


@pytest.fixture
async def server(held: asyncio.Event, three: asyncio.Barrier) -> Server:
    async def hold(request: bytes, call: Call) -> bytes:
        if not held.is_set():
            await three.wait()
        await held.wait()
        return b""

    return Server({"/t.T/Echo": unary(echo, bytes), "/t.T/Hold": unary(hold, bytes)}, limits=Limits(max_streams=3))


@pytest.fixture
async def path(server: Server, tmp_path: Path) -> AsyncIterator[str]:
    async with server.serving([listen(f"unix://{tmp_path}/s")]):
        yield f"{tmp_path}/s"


class Raw:
    """A bare HTTP/2 client."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connection = Connection(role=Role.CLIENT)
        self._reader = reader
        self._writer = writer

    def open(self, **changes: str) -> int:
        fields = {":method": "POST", ":scheme": "http", ":path": "/t.T/Echo", "content-type": "application/grpc"}
        fields |= {key.replace("_", "-"): value for key, value in changes.items()} | {"te": "trailers"}
        own = changes.get("method")
        if own:
            fields |= {":method": own}
            del fields["method"]
        return self.connection.open_stream([(k.encode(), v.encode()) for k, v in fields.items()], end_stream=True)

    async def answer(self) -> HeadersReceived | StreamReset:
        async with asyncio.timeout(5):
            while True:
                self._writer.write(self.connection.take())
                for event in self.connection.feed(await self._reader.read(65536)):
                    if isinstance(event, HeadersReceived | StreamReset):
                        return event


@pytest.fixture
async def raw(path: str) -> AsyncIterator[Raw]:
    reader, writer = await asyncio.open_unix_connection(path)
    yield Raw(reader, writer)
    writer.close()


@pytest.mark.parametrize(("changes", "http_status"), [({"method": "GET"}, b"405"), ({"content_type": "text/html"}, b"415")])
async def test_what_is_not_grpc(raw: Raw, changes: dict[str, str], http_status: bytes) -> None:
    raw.open(**changes)
    answer = await raw.answer()
    assert isinstance(answer, HeadersReceived)
    assert dict(answer.headers)[b":status"] == http_status


async def test_http1_is_told_and_closed(path: str) -> None:
    """An HTTP/1 client gets GOAWAY and the end, and others go on being served."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\nUser-Agent: x\r\n\r\n")
    async with asyncio.timeout(5):
        assert await reader.read()
    writer.close()
    async with connect(f"unix://{path}") as peer:
        assert await peer.unary("/t.T/Echo", b"x") == b"x"


async def test_call_without_message(path: str) -> None:
    async with connect(f"unix://{path}") as peer, await peer.open("/t.T/Echo") as call:
        call.close_send()
        with pytest.raises(Exception, match="without a request message"):
            await call.recv()


async def test_calls_wait_for_a_free_stream(path: str, server: Server, held: asyncio.Event, three: asyncio.Barrier) -> None:
    """More calls than the server takes at once: the client holds the rest back, and all are answered."""
    async with connect(f"unix://{path}") as peer:
        assert await peer.unary("/t.T/Echo", b"") == b""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(peer.unary("/t.T/Hold", b"")) for _ in range(20)]
            await three.wait()
            assert server.statistics() == {"connections": 1, "calls": 3}
            held.set()
        assert [task.result() for task in tasks] == [b""] * 20
    assert server.statistics()["calls"] == 0


async def test_slow_reader_holds_the_writer_back(tmp_path: Path) -> None:
    """What waits for a client that reads nothing stays within the windows and one high-water mark."""
    sent = 0
    full = asyncio.Event()

    async def pour(call: Call) -> None:
        nonlocal sent
        await call.recv()
        while sent < 100 << 20:
            if not call.send_soon(b"x" * 65_536):
                full.set()
            sent += 65_536
            await call.drained()

    server = Server({"/t.T/Pour": pour})
    async with (
        server.serving([listen(f"unix://{tmp_path}/s")]),
        connect(f"unix://{tmp_path}/s") as peer,
        await peer.open("/t.T/Pour") as call,
    ):
        await call.send(b"")
        async with asyncio.timeout(5):
            await full.wait()
        for _ in range(100):  # turns in which more would come, were it not held back
            await asyncio.sleep(0)
        assert sent < 4 << 20
        got = 0
        while got < 20 << 20:
            got += len(await call.chunk())


async def test_slow_handler_holds_the_sender_back(tmp_path: Path) -> None:
    """A handler that doesn't read stops its own stream only."""

    async def deaf(call: Call) -> None:
        await asyncio.Event().wait()

    server = Server({"/t.T/Deaf": deaf, "/t.T/Echo": unary(echo, bytes)})
    async with (
        server.serving([listen(f"unix://{tmp_path}/s")]),
        connect(f"unix://{tmp_path}/s") as peer,
        await peer.open("/t.T/Deaf") as call,
    ):
        for _ in range(100):
            call.send_soon(b"x" * 65_536)
        async with asyncio.timeout(5):
            assert await peer.unary("/t.T/Echo", b"y" * (3 << 20)) == b"y" * (3 << 20)


async def test_interceptors_wrap_in_order(tmp_path: Path) -> None:
    seen: list[str] = []

    def named(name: str):  # type: ignore[no-untyped-def]
        async def around(call: Call, handler: Handler) -> None:
            seen.append(f"{name} {call.method}")
            await handler(call)
            seen.append(f"/{name}")

        return around

    server = Server({"/t.T/Echo": unary(echo, bytes)}, interceptors=[named("a"), named("b")])
    async with server.serving([listen(f"unix://{tmp_path}/s")]), connect(f"unix://{tmp_path}/s") as peer:
        await peer.unary("/t.T/Echo", b"")
    assert seen == ["a /t.T/Echo", "b /t.T/Echo", "/b", "/a"]


async def test_error_of_the_body_comes_through_as_itself(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        async with Server({}).serving([listen(f"unix://{tmp_path}/s")]):
            raise KeyError("mine")
