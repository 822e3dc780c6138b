"""An output arrives once, however often it is exported; a stream that broke off is no arrival."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from shared.errors import AlreadyExists, Unavailable
from shared.session.filesend import export_file
from shared.session.once import is_delivered
from shared.session.ports import SessionDescription, SessionStream
from shared.session.registry import SessionRegistry


class OneFile:
    """A client whose file is closed after the first stream, as buildctl's is."""

    session_id = "s"
    description = SessionDescription(id="s")

    def __init__(self) -> None:
        self.streams: list[Taking] = []
        self.metadata: list[str] = []
        self.go_on = asyncio.Event()
        self.go_on.set()

    @asynccontextmanager
    async def open(self, method: str, *, metadata: Sequence[tuple[str, str]] = ()) -> AsyncIterator[SessionStream]:
        self.metadata += [key for key, _ in metadata]
        stream = Taking(self)
        self.streams.append(stream)
        yield stream


class Taking:
    """One stream to it."""

    headers: Mapping[str, str] = {}

    def __init__(self, client: OneFile) -> None:
        self._client = client
        self.data = b""

    async def send(self, chunk: bytes) -> None:
        if b"broken" in chunk:
            raise Unavailable("broken")
        self.data += chunk

    async def close_send(self) -> None:
        return None

    async def receive(self) -> bytes:
        await self._client.go_on.wait()
        return b""


async def chunks(*data: bytes) -> AsyncIterator[bytes]:
    for chunk in data:
        yield chunk


async def test_it_is_sent_once() -> None:
    client, registry = OneFile(), SessionRegistry()
    with registry.holding(client):
        await export_file(registry, "s", 0, chunks(b"tar"), once="build/0")
        with pytest.raises(AlreadyExists) as caught:
            await export_file(registry, "s", 0, chunks(b"tar"), once="build/0")
        await export_file(registry, "s", 1, chunks(b"other"), once="build/1")

    assert is_delivered(caught.value)
    assert len(client.streams) == 2
    assert "buildmesh-once" not in client.metadata


async def test_a_second_one_waits_for_the_first() -> None:
    """Its solver died, it did not."""
    client, registry = OneFile(), SessionRegistry()
    client.go_on.clear()
    with registry.holding(client):
        async with asyncio.timeout(5), asyncio.TaskGroup() as tasks:
            first = tasks.create_task(export_file(registry, "s", 0, chunks(b"tar"), once="build/0"))
            second = tasks.create_task(_outcome(export_file(registry, "s", 0, chunks(b"tar"), once="build/0")))
            await asyncio.sleep(0.05)
            assert not second.done()
            client.go_on.set()
            assert await first == 3
            assert isinstance(await second, AlreadyExists)
    assert len(client.streams) == 1


async def test_what_broke_off_is_sent_again() -> None:
    client, registry = OneFile(), SessionRegistry()
    with registry.holding(client):
        client.go_on.clear()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await export_file(registry, "s", 0, chunks(b"tar"), once="build/0")
        client.go_on.set()
        await export_file(registry, "s", 0, chunks(b"tar"), once="build/0")
    assert len(client.streams) == 2


async def test_another_session_is_another_client() -> None:
    client, registry = OneFile(), SessionRegistry()
    for _ in range(2):
        with registry.holding(client):
            await export_file(registry, "s", 0, chunks(b"tar"), once="build/0")
    assert len(client.streams) == 2


async def _outcome(work) -> Exception | None:  # type: ignore[no-untyped-def]
    try:
        await work
    except Exception as error:
        return error
    return None
