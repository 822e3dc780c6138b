"""What outlives a solver: ownership goes to the latest delivery, what was kept is found by the next one, nonsense is not."""

import pytest

from services.solver.adapters import build_memory
from services.solver.adapters.build_memory import BusMemory
from shared.blobs.memory import MemoryBlobs
from shared.bus.memory import MemoryBus
from shared.errors import Unavailable
from shared.run.backends import BlobClaims
from shared.telemetry import Log
from shared.wire import subjects
from shared.wire.messages import BridgeRef, BridgeReturn


class Solvers:
    """Two solvers on one bus."""

    def __init__(self) -> None:
        self.bus = MemoryBus()
        claims = BlobClaims(MemoryBlobs())
        self.first = BusMemory(self.bus, claims, "first", Log())
        self.second = BusMemory(self.bus, claims, "second", Log())

    async def left(self) -> list[str]:
        return [entry.key for entry in await (await self.bus.bucket(subjects.KV_BRIDGES, ttl=3600)).entries()]


async def test_a_later_delivery_takes_a_build_over() -> None:
    solvers = Solvers()

    assert not await solvers.first.claim("build", 1001)
    assert await solvers.first.is_mine("build")
    assert await solvers.second.claim("build", 1002)

    assert await solvers.second.is_mine("build")
    assert not await solvers.first.is_mine("build")


async def test_an_older_delivery_does_not() -> None:
    """A solver that stood still wakes up with a delivery that somebody else has long had again."""
    solvers = Solvers()
    await solvers.second.claim("build", 1002)

    with pytest.raises(Unavailable, match="another solver has taken this build over"):
        await solvers.first.claim("build", 1001)

    assert await solvers.second.is_mine("build")


@pytest.mark.parametrize("size", [10, 200_000])
async def test_what_was_kept_is_recalled(size: int) -> None:
    """Large definitions go through the blob store."""
    solvers = Solvers()
    handle = BridgeRef(id="handle", definition=b"d" * size)
    await solvers.first.keep("build", "handle", handle)
    await solvers.first.keep("build", "return", BridgeReturn())

    assert await solvers.second.recall("build", "handle") == handle
    assert await solvers.second.recall("build", "return") == BridgeReturn()
    assert await solvers.second.recall("other", "handle") is None
    assert await solvers.second.recall("build", "another") is None


@pytest.mark.parametrize("name", ["", "*", "a.b c", ">", "x" * 1000, "../owner"])
async def test_names_come_from_clients(name: str) -> None:
    assert await Solvers().first.recall("build", name) is None


async def test_nonsense_in_the_bucket_is_nothing() -> None:
    solvers = Solvers()
    bucket = await solvers.bus.bucket(subjects.KV_BRIDGES, ttl=3600)
    await bucket.put("build.handle", b"nonsense")
    await bucket.put("build.owner", b"nonsense")

    assert await solvers.first.recall("build", "handle") is None
    assert await solvers.first.claim("build", 1001)


async def test_a_build_that_ended_leaves_nothing() -> None:
    solvers = Solvers()
    await solvers.first.claim("build", 1)
    await solvers.first.keep("build", "handle", BridgeRef(id="handle"))

    await solvers.first.forget("build")

    assert await solvers.left() == []


async def test_who_took_a_build_over_removes_what_the_first_one_wrote() -> None:
    """Also handles that nobody has asked for since; what other builds have stays."""
    solvers = Solvers()
    await solvers.first.claim("build", 1001)
    await solvers.first.claim("build2", 1001)
    await solvers.first.keep("build", "handle", BridgeRef(id="handle"))
    await solvers.second.claim("build", 1002)

    await solvers.second.forget("build")

    assert await solvers.left() == ["build2.owner"]


async def test_what_a_dead_solver_had_begun_is_removed_by_one_that_never_had_it() -> None:
    solvers = Solvers()
    await solvers.first.claim("build", 1001)
    await solvers.first.keep("build", "handle", BridgeRef(id="handle"))

    await solvers.second.forget("build", begun_elsewhere=True)

    assert await solvers.left() == []


async def test_a_build_that_ends_while_the_bus_is_away_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build_memory, "FORGET_AGAIN", 0.001)
    solvers = Solvers()
    await solvers.first.claim("build", 1001)
    bucket = await solvers.bus.bucket(subjects.KV_BRIDGES, ttl=3600)
    delete, refused = bucket.delete, []

    async def away(key: str) -> None:
        if len(refused) < 5:
            refused.append(key)
            raise Unavailable("the bus is away")
        await delete(key)

    monkeypatch.setattr(bucket, "delete", away)

    await solvers.first.forget("build")

    assert await solvers.left() == []
    assert len(refused) == 5


async def test_who_lost_a_build_does_not_answer_for_it_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or it would write the owner again, for hours, when the bus comes back after the build has ended elsewhere."""
    solvers = Solvers()
    bucket = await solvers.bus.bucket(subjects.KV_BRIDGES, ttl=3600)
    disowned: list[str] = []
    monkeypatch.setattr(bucket, "disown", disowned.append)
    await solvers.first.claim("build", 1001)
    await solvers.first.keep("build", "handle", BridgeRef(id="handle"))
    await solvers.second.claim("build", 1002)

    assert await solvers.second.is_mine("build")
    assert disowned == []
    assert not await solvers.first.is_mine("build")
    assert sorted(disowned) == ["build.handle", "build.owner"]
