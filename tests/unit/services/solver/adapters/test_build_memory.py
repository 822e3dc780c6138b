"""What outlives a solver: ownership goes to the latest delivery, what was kept is found by the next one, nonsense is not."""

import pytest

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

    await solvers.first.forget("build", ("handle",))

    assert await (await solvers.bus.bucket(subjects.KV_BRIDGES, ttl=3600)).entries() == []
