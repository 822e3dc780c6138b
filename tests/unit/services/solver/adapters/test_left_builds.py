"""Only what no gateway announces and no solver runs is removed, and not at the first look."""

from services.solver.adapters.left_builds import LeftBuilds
from shared.bus.memory import MemoryBus
from shared.telemetry import Log
from shared.wire import subjects


async def keys(bus: MemoryBus) -> list[str]:
    bucket = await bus.bucket(subjects.KV_BRIDGES, ttl=subjects.TTL[subjects.KV_BRIDGES])
    return [entry.key for entry in await bucket.entries()]


async def fleet() -> MemoryBus:
    """Three builds were begun; a gateway announces the first, this solver runs the second."""
    bus = MemoryBus()
    kept = await bus.bucket(subjects.KV_BRIDGES, ttl=subjects.TTL[subjects.KV_BRIDGES])
    for key in ("announced.owner", "running.owner", "left.owner", "left.handle"):
        await kept.put(key, b"x")
    await (await bus.bucket(subjects.KV_BUILDS, ttl=subjects.TTL[subjects.KV_BUILDS])).put("announced", b"x")
    return bus


async def test_what_is_missing_twice_goes() -> None:
    bus = await fleet()
    left = LeftBuilds(bus, lambda: ["running"], Log())

    await left.look()
    assert len(await keys(bus)) == 4
    await left.look()

    assert await keys(bus) == ["announced.owner", "running.owner"]


async def test_what_is_announced_again_stays() -> None:
    """The bus had lost all; its gateway says it anew."""
    bus = await fleet()
    left = LeftBuilds(bus, lambda: ["running"], Log())
    builds = await bus.bucket(subjects.KV_BUILDS, ttl=subjects.TTL[subjects.KV_BUILDS])

    await left.look()
    await builds.put("left", b"x")
    await left.look()
    await builds.delete("left")
    await left.look()
    assert len(await keys(bus)) == 4
    await left.look()

    assert await keys(bus) == ["announced.owner", "running.owner"]
