"""Snapshots of cache mounts as seen by the cachestore: they keep their blobs, a prune ends them for the fleet, and so does time."""

from services.cachestore.adapters.kept_mounts import KeptMounts
from services.cachestore.core.gc_policy import Limits
from services.executor.adapters.mount_records import MountName, MountRecords
from shared.bus.memory import MemoryBus
from shared.model import Digest, Layer
from shared.run import SystemClock
from shared.wire import subjects

BLOB = Digest("sha256:" + "1" * 64)
BASE = Digest("sha256:" + "2" * 64)
NAME = MountName(id="apt")
LAYERS = (
    Layer(digest=BASE, diff_id=BASE, size=5, media_type="", source="registry.example/base"),
    Layer(digest=BLOB, diff_id=BLOB, size=5, media_type="", transport=True),
)


class World:
    def __init__(self, *, seconds: float = 1000.0, max_bytes: int = 1000) -> None:
        self.bus = MemoryBus()
        self.records = MountRecords(self.bus, SystemClock())
        self.seconds, self.max_bytes = seconds, max_bytes

    async def mounts(self) -> KeptMounts:
        """One snapshot is kept."""
        await self.records.change(NAME, lambda kept: kept.drawn())
        await self.records.change(NAME, lambda kept: kept.with_snapshot(1, LAYERS, mode=0, uid=0, gid=0))
        bucket = await self.bus.bucket(subjects.KV_MOUNTS)
        await bucket.put("nonsense", b"\xff")
        return KeptMounts(bucket, SystemClock(), seconds=self.seconds, max_bytes=self.max_bytes)

    async def kept(self) -> bool:
        found = await self.records.get(NAME)
        return found is not None and bool(found.kept)


async def test_blobs_of_snapshots_stay_but_what_a_registry_has() -> None:
    assert await (await World().mounts()).live() == {BLOB}


async def test_a_prune_that_means_them_ends_them() -> None:
    world = World()
    mounts = await world.mounts()
    for limits, filters in (
        (Limits(), ["type==regular"]),
        (Limits(keep_duration=10**12), []),
        (Limits(max_used_space=1), []),
        (Limits(reserved_space=1), []),
    ):
        await mounts.prune(limits, filters)
        assert await world.kept(), (limits, filters)
    await mounts.prune(Limits(), ["type==exec.cachemount"])
    assert not await world.kept()
    assert await mounts.live() == set()


async def test_what_was_on_its_way_before_a_prune_does_not_come_back() -> None:
    world = World()
    mounts = await world.mounts()
    drawn = await world.records.change(NAME, lambda kept: kept.drawn())
    assert drawn is not None
    await mounts.prune(Limits(), [])
    assert await world.records.change(NAME, lambda kept: kept.with_snapshot(drawn.turn, LAYERS, mode=0, uid=0, gid=0)) is None


async def test_time_and_space_end_them() -> None:
    assert await (await World().mounts()).expire() == 0
    for world in (World(seconds=0.0), World(max_bytes=1)):
        assert await (await world.mounts()).expire() == 1
        assert not await world.kept()
