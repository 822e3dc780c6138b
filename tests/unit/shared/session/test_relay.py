"""A session held by one process and used by another, through the relay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.errors import NotFound, SessionGone, vertex_detail
from shared.rpc import Call, MessageReader, Server, frame, listen
from shared.session.registry import SessionRegistry
from shared.session.relay import RelayLinks, relay_routes
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
