"""A stream that lands: found like a session, both ways, bounded, and with an end that each side sees."""

import asyncio

import pytest

from shared.errors import BuildFailed, SessionGone
from shared.session.landing import HIGH_WATER, Landing
from shared.session.registry import SessionRegistry


async def test_both_ways_and_the_end() -> None:
    registry, landing = SessionRegistry(), Landing("landing-1")
    with registry.holding(landing):
        async with registry.open("landing-1", "/x") as theirs:
            ours = await landing.arrival()
            await theirs.send(b"ab")
            await theirs.send(b"c")
            assert await ours.receive() == b"abc"
            await ours.send(b"back")
            assert await theirs.receive() == b"back"
            await theirs.send(b"last")
            await theirs.close_send()
        assert await ours.receive() == b"last"
        assert await ours.receive() == b""
        with pytest.raises(SessionGone):
            await ours.send(b"too late")


async def test_a_failure_of_the_other_side_is_told() -> None:
    landing = Landing("landing-1")
    with pytest.raises(BuildFailed):
        async with landing.open("/x"):
            raise BuildFailed("broken")

    with pytest.raises(BuildFailed, match="broken"):
        await (await landing.arrival()).receive()


async def test_a_slow_reader_holds_the_sender_up() -> None:
    landing = Landing("landing-1")
    async with landing.open("/x") as theirs:
        await theirs.send(bytes(HIGH_WATER + 1))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await theirs.send(b"more")
        await (await landing.arrival()).receive()
        await theirs.send(b"more")


async def test_it_takes_one_stream_only() -> None:
    landing = Landing("landing-1")
    async with landing.open("/x"):
        with pytest.raises(SessionGone, match="is taken"):
            async with landing.open("/x"):
                pass


async def test_closing_tells_the_other_side() -> None:
    landing = Landing("landing-1")
    async with landing.open("/x") as theirs:
        landing.close()
        assert await theirs.receive() == b""
        with pytest.raises(SessionGone):
            await theirs.send(b"x")
    with pytest.raises(SessionGone, match="is taken"):
        async with landing.open("/x"):
            pass
