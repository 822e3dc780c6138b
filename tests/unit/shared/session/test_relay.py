"""A session held by one process and used by another, through the relay."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.errors import Denied, NotFound, SessionGone, vertex_detail
from shared.rpc import Call, MessageReader, Server, TlsFiles, connect, frame, listen
from shared.session.registry import SessionRegistry
from shared.session.relay import RelayLinks, relay_routes
from shared.wire.roles import session_users
from tests.kit.authority import Authority
from tests.kit.pipes import attached


class Client:
    def __init__(self) -> None:
        self.cancelled = asyncio.Event()

    async def echo(self, call: Call) -> None:
        call.send_initial_metadata([("x-seen", call.metadata.get("x-mark"))])
        async for message in call.messages():
            await call.send(message)

    async def fail(self, call: Call) -> None:
        raise NotFound("nothing there", details=[vertex_detail("sha256:1")])

    async def wait(self, call: Call) -> None:
        await call.send(b"waiting")
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()


@pytest.fixture
async def client() -> Client:
    return Client()


@pytest.fixture
async def links(client: Client, tmp_path: Path) -> AsyncIterator[RelayLinks]:
    registry = SessionRegistry()
    address = f"unix://{tmp_path}/relay.sock"

    async def locate(session_id: str, wait: float) -> str:
        if session_id != "sess1":
            raise SessionGone(session_id)
        return address

    relay = RelayLinks(locate)
    routes = {"/t.T/Echo": client.echo, "/t.T/Fail": client.fail, "/t.T/Wait": client.wait}
    async with (
        attached(registry, "sess1", routes, tmp_path),
        Server(relay_routes(registry)).serving([listen(address)]),
        relay.running(),
    ):
        yield relay


async def test_bytes_and_headers_pass(links: RelayLinks) -> None:
    """Many messages in few chunks arrive in order; response headers come along."""
    messages = [b"%d" % n + b"x" * (n % 5000) for n in range(2000)]
    reader, got = MessageReader(), []

    async with links.open("p:sess1", "/t.T/Echo", metadata=[("x-mark", "ünïcode"[1:2])]) as stream:

        async def send() -> None:
            for message in messages:
                await stream.send(frame(message))
            await stream.close_send()

        async with asyncio.TaskGroup() as group:
            group.create_task(send())
            while chunk := await stream.receive():
                reader.feed(chunk)
        while (message := reader.next()) is not None:
            got.append(message)

    assert got == messages
    assert stream.headers["x-seen"] == "n"


async def test_status_with_details_passes(links: RelayLinks) -> None:
    """The client's own error is raised, details included."""
    with pytest.raises(NotFound, match="nothing there") as caught:
        async with links.open("sess1", "/t.T/Fail") as stream:
            await stream.receive()

    assert caught.value.details == (vertex_detail("sha256:1"),)


async def test_leaving_cancels_at_the_client(links: RelayLinks, client: Client) -> None:
    """Cancellation reaches through relay and pipe."""
    async with links.open("sess1", "/t.T/Wait") as stream:
        assert await stream.receive()

    async with asyncio.timeout(5):
        await client.cancelled.wait()


async def test_describe(links: RelayLinks) -> None:
    """What the client serves can be asked from afar; an unknown session is gone."""
    found = await links.describe("p:sess1")

    assert {"/t.t/echo", "/t.t/fail", "/t.t/wait"} <= found.methods
    with pytest.raises(SessionGone):
        await links.describe("other")


@pytest.mark.parametrize(("name", "may"), [("executor", True), ("frontend", False), ("cachestore", False), ("minio", False)])
async def test_only_those_who_use_sessions_may(name: str, may: bool, tmp_path: Path) -> None:
    """Every part of the fleet has a certificate; a frontend's must not read secrets over the sessions that it is told of."""
    authority = Authority(tmp_path)
    server_cert, server_key = authority.issue("gateway")
    cert, key = authority.issue(name)
    context = ssl.create_default_context(cafile=str(authority.ca))
    context.load_cert_chain(cert, key)
    context.set_alpn_protocols(["h2"])
    listener = listen("tcp://127.0.0.1:0", tls=TlsFiles(cert=server_cert, key=server_key, ca=str(authority.ca)))
    registry = SessionRegistry()
    async with (
        attached(registry, "sess1", {"/t.T/Echo": Client().echo}, tmp_path),
        Server(relay_routes(registry, session_users())).serving([listener]),
        connect(listener.address, tls=context, server_name="localhost") as peer,
    ):
        question = peer.unary("/buildmesh.relay.v1.Sessions/Describe", b'{"session": "sess1", "wait": 1}', within=5.0)
        if may:
            assert b"/t.t/echo" in await question
        else:
            with pytest.raises(Denied, match=f"'{name}' may not use sessions"):
                await question
            async with await peer.open("/buildmesh.relay.v1.Sessions/Open", metadata=[("buildmesh-session", "sess1")]) as call:
                with pytest.raises(Denied):
                    await call.chunk()
