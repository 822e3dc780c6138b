"""Where a session is held."""

import asyncio

import pytest

from shared.bus.memory import MemoryBus
from shared.errors import SessionGone
from shared.run.sessions import TTL, SessionDirectory, session_links
from shared.session.registry import SessionRegistry
from shared.session.relay import RelayLinks
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.messages import Done, SessionInfo


async def announce(bus: MemoryBus, info: SessionInfo) -> None:
    await (await bus.bucket(subjects.KV_SESSIONS, ttl=TTL)).put(info.id, Codec().encode(info))


async def test_a_session_is_found_at_its_gateway() -> None:
    bus = MemoryBus()
    await announce(bus, SessionInfo(id="s1", gateway="g", relay="tcp://h:1"))

    assert await SessionDirectory(bus).locate("s1", 0.1) == "tcp://h:1"


async def test_one_that_is_announced_soon_is_waited_for() -> None:
    bus = MemoryBus()
    async with asyncio.TaskGroup() as tasks:
        found = tasks.create_task(SessionDirectory(bus).locate("s1", 5))
        await asyncio.sleep(0.02)
        await announce(bus, SessionInfo(id="s10", gateway="g", relay="tcp://other:1"))
        await announce(bus, SessionInfo(id="s1", gateway="g", relay="tcp://h:1"))

    assert found.result() == "tcp://h:1"


@pytest.mark.parametrize("session", ["nobody", "../x", "a*", ""])
async def test_one_that_never_comes_is_gone(session: str) -> None:
    with pytest.raises(SessionGone, match="no active session"):
        await SessionDirectory(MemoryBus()).locate(session, 0.02)


@pytest.mark.parametrize("value", [b"junk", Codec().encode(Done()), Codec().encode(SessionInfo(id="s1", gateway="g", relay=""))])
async def test_an_entry_that_leads_nowhere(value: bytes) -> None:
    bus = MemoryBus()
    await (await bus.bucket(subjects.KV_SESSIONS, ttl=TTL)).put("s1", value)

    with pytest.raises(SessionGone, match="s1"):
        await SessionDirectory(bus).locate("s1", 0.1)


async def test_links() -> None:
    bus = MemoryBus()
    async with session_links(bus, alone=True) as links:
        assert isinstance(links, SessionRegistry)
    async with session_links(bus, alone=False) as links:
        assert isinstance(links, RelayLinks)
        assert isinstance(links.local, SessionRegistry)
