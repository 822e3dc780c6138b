"""Cache mounts of two executors with one bus and one blob store: what a step has left here, the next one finds there."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from services.executor.adapters.cache_dirs import CacheDirs, Wish
from services.executor.adapters.fleet_locks import FleetLocks
from services.executor.adapters.materialise import Materialise
from services.executor.adapters.mount_records import MountName, MountRecords
from services.executor.adapters.mount_snapshots import MountSnapshots
from services.executor.adapters.pack import LayerPacker
from services.executor.adapters.snapshots import open_snapshots
from services.executor.adapters.warm_mounts import WarmMounts
from services.executor.core.settings import WarmMountSettings
from services.executor.core.snapshots import RecordType
from services.executor.ports import Reporter
from shared.blobs.disk import DiskBlobs
from shared.blobs.threads import Pool
from shared.bus.memory import MemoryBus
from shared.errors import BlobMissing, Unavailable
from shared.llb import Sharing
from shared.model import KeptMount, Layer
from shared.run import SystemClock
from shared.run.flight import Flight
from shared.telemetry import Log
from shared.wire.messages import Scope

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.getuid() != 0, reason="needs root")]


class OnlyStored:
    """A fetcher without registries."""

    def __init__(self, blobs: DiskBlobs) -> None:
        self.blobs = blobs

    async def ensure(self, layer: Layer, sessions: object, report: Reporter) -> None:
        if await self.blobs.find_missing([layer.digest]):
            raise BlobMissing(layer.digest)


class Executor:
    """The parts of one that have to do with cache mounts."""

    def __init__(self, name: str, fleet: "Fleet", settings: WarmMountSettings) -> None:
        root = fleet.root / name
        self.fleet = fleet
        self.store = open_snapshots(root)
        self.threads = Pool(name, 4)
        fetch = OnlyStored(fleet.blobs)
        packer = LayerPacker(store=self.store, blobs=fleet.blobs, fetch=fetch, threads=self.threads, scratch=root / "packing")  # type: ignore[arg-type]
        materialise = Materialise(
            home=name, store=self.store, blobs=fleet.blobs, fetch=fetch, calls=None, threads=self.threads, flight=Flight(fleet.tasks)  # type: ignore[arg-type]
        )  # fmt: skip
        self.snapshots = MountSnapshots(
            home=name, store=self.store, packs=packer, records=fleet.records, threads=self.threads, settings=settings, log=Log()
        )
        warm = WarmMounts(
            store=self.store,
            threads=self.threads,
            materialise=materialise,
            records=fleet.records,
            snapshots=self.snapshots,
            wanted=lambda: not fleet.alone,
            settings=settings,
            log=Log(),
        )
        self.caches = CacheDirs(self.store, self.threads, FleetLocks(fleet.bus, fleet.tasks), warm)
        self.running = fleet.tasks.create_task(self.snapshots.run())

    async def step(
        self, do: Callable[[Path], object], *, sharing: Sharing = Sharing.SHARED, id: str = "c", fails: bool = False, keeps: bool = True
    ) -> object:
        """One step with the mount: what `do` gives."""
        wish = Wish(id=id, sharing=sharing, description="cached mount", scope=Scope(lease="build"), keeps=keeps)
        try:
            async with self.caches.use(wish) as found:
                with self.store.mount(found, writable=True) as path:
                    result = do(Path(path))
                if fails:
                    raise RuntimeError("the step fails")
        except RuntimeError:
            if not fails:
                raise
        return result

    def kinds(self) -> list[RecordType]:
        return [snapshot.record_type for snapshot in self.store.all()]


class Fleet:
    def __init__(self, root: Path, tasks: asyncio.TaskGroup) -> None:
        self.root, self.tasks = root, tasks
        self.bus = MemoryBus()
        self.blobs = DiskBlobs(root / "blobs")
        self.records = MountRecords(self.bus, SystemClock())
        self.alone = False

    async def kept(self, id: str = "c") -> KeptMount:
        """The entry, when nothing is on its way any more."""
        while (found := await self.records.get(MountName(id=id))) is None or found.awaited:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return found


@asynccontextmanager
async def two(root: Path, **settings: float) -> AsyncIterator[tuple[Executor, Executor, Fleet]]:
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        fleet = Fleet(root, tasks)
        chosen = WarmMountSettings(**{"every": 0.0, **settings})  # type: ignore[arg-type]
        made = [Executor(name, fleet, chosen) for name in ("a", "b")]
        yield made[0], made[1], fleet
        for each in made:
            each.running.cancel()


def writes(name: str, text: str = "x") -> Callable[[Path], object]:
    return lambda path: (path / name).write_text(text)


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))


@pytest.mark.parametrize("sharing", list(Sharing))
async def test_another_executor_begins_with_what_was_left(tmp_path: Path, sharing: Sharing) -> None:
    """Whatever it is: modes, owners, links, the top directory's own mode."""

    def fill(path: Path) -> None:
        path.chmod(0o1777)
        (path / "d").mkdir(mode=0o700)
        (path / "d/f").write_text("first")
        os.chown(path / "d/f", 7, 8)
        (path / "away").symlink_to("/etc/passwd")
        os.mkfifo(path / "pipe")

    def seen(path: Path) -> object:
        info = (path / "d/f").lstat()
        return names(path), (path / "d/f").read_text(), (info.st_uid, info.st_gid), path.stat().st_mode & 0o7777, os.readlink(path / "away")

    async with two(tmp_path) as (a, b, _):
        await a.step(fill, sharing=sharing)
        there = await b.step(seen, sharing=sharing)
        assert there == (["away", "d", "pipe"], "first", (7, 8), 0o1777, "/etc/passwd") == await a.step(seen, sharing=sharing)
        assert await b.step(names, sharing=sharing, id="other") == []


async def test_the_last_good_one_wins_back_and_forth(tmp_path: Path) -> None:
    """Each step finds what the one before has left, wherever that was; only what changed travels; deletions, too."""
    async with two(tmp_path) as (a, b, fleet):
        await a.step(lambda path: (writes("one")(path), writes("two")(path)))
        first = (await fleet.kept()).layers
        await b.step(lambda path: ((path / "one").unlink(), writes("three")(path)))
        second = await fleet.kept()
        assert second.layers[: len(first)] == first
        own = {snapshot.id for snapshot in a.store.all()}
        assert await a.step(names) == ["three", "two"]
        assert len({snapshot.id for snapshot in a.store.all()} - own) == 2, "b's layer and a directory on it; the first layer is a's own"
        assert (await fleet.kept()) == second, "who changes nothing leaves nothing new"


async def test_a_step_that_fails_leaves_nothing_to_the_fleet(tmp_path: Path) -> None:
    async with two(tmp_path) as (a, b, fleet):
        await a.step(writes("good"))
        await fleet.kept()
        await a.step(writes("half"), fails=True)
        await a.step(writes("debugging"), keeps=False)
        assert await b.step(names) == ["good"]
        assert (await fleet.kept()).turn == 1


async def test_the_last_user_of_a_shared_directory_decides(tmp_path: Path) -> None:
    async with two(tmp_path) as (a, b, fleet):
        wish = Wish(id="c", sharing=Sharing.SHARED, description="", scope=Scope(lease="l"))
        async with a.caches.use(wish) as outer:
            async with a.caches.use(wish) as inner:
                with a.store.mount(inner, writable=True) as path:
                    writes("inner")(Path(path))
            assert outer == inner
            assert await fleet.records.get(MountName(id="c")) is None, "somebody still uses it"
        await fleet.kept()
        assert await b.step(names) == ["inner"]


async def test_who_comes_while_a_directory_is_set_aside_gets_what_is_in_it(tmp_path: Path) -> None:
    async with two(tmp_path) as (a, _, fleet):
        for number in range(5):
            async with asyncio.TaskGroup() as tasks:
                for each in range(3):
                    tasks.create_task(a.step(writes(f"{number}-{each}")))
        assert len(await a.step(names)) == 15  # type: ignore[arg-type]
        await fleet.kept()
        assert len(a.store.carrying("cache:c")) == 1


async def test_a_locked_mount_shows_the_last_holders_content_wherever_it_goes(tmp_path: Path) -> None:
    """Twelve increments on two executors at once: none is lost."""

    def increment(path: Path) -> None:
        file = path / "n"
        file.write_text(str(int(file.read_text()) + 1 if file.exists() else 1))

    async with two(tmp_path, depth=4) as (a, b, _):
        async with asyncio.TaskGroup() as tasks:
            for executor in (a, b) * 6:
                tasks.create_task(executor.step(increment, sharing=Sharing.LOCKED))
        assert await a.step(lambda path: (path / "n").read_text(), sharing=Sharing.LOCKED) == "12"


async def test_many_changes_become_one_layer_again(tmp_path: Path) -> None:
    async with two(tmp_path, depth=3) as (a, b, fleet):
        for number in range(5):
            await a.step(writes(f"{number}"))
            kept = await fleet.kept()
            assert len(kept.layers) <= 3
        assert await b.step(names) == [str(number) for number in range(5)]
        assert await a.step(names) == [str(number) for number in range(5)]
        (here,) = a.store.carrying("cache:c")
        assert len(a.store.layers(here)) <= 4


async def test_what_is_too_large_stays_where_it_is(tmp_path: Path) -> None:
    async with two(tmp_path, max_size=100_000) as (a, b, fleet):
        await a.step(lambda path: (path / "large").write_bytes(os.urandom(200_000)))
        assert (await fleet.kept()).kept == 0
        assert await b.step(names) == []
        assert await a.step(names) == ["large"]


async def test_alone_nothing_is_kept(tmp_path: Path) -> None:
    async with two(tmp_path) as (a, _, fleet):
        fleet.alone = True
        await a.step(writes("f"))
        assert await fleet.records.get(MountName(id="c")) is None
        (here,) = a.store.carrying("cache:c")
        assert len(a.store.layers(here)) == 1


async def test_no_cache_begins_anew_once_for_the_fleet(tmp_path: Path) -> None:
    async with two(tmp_path) as (a, b, fleet):
        await a.step(writes("old"))
        await b.step(names)
        await a.caches.empty("build", ["c"])
        assert await a.step(lambda path: (names(path), writes("new")(path))[0]) == []
        await fleet.kept()
        await b.caches.empty("build", ["c"])  # the same build, on the other executor
        assert await b.step(names) == ["new"]


async def test_without_the_blobs_a_mount_begins_empty(tmp_path: Path) -> None:
    async with two(tmp_path) as (a, b, fleet):
        await a.step(writes("f"))
        for layer in (await fleet.kept()).layers:
            await fleet.blobs.delete(layer.digest)
        assert await b.step(names) == []
        assert (await fleet.kept()).kept == 0


async def test_without_the_bus_a_mount_is_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(*args: object) -> None:
        raise Unavailable("no bus")

    async with two(tmp_path) as (a, b, fleet):
        await a.step(writes("one"))
        await fleet.kept()
        monkeypatch.setattr(fleet.bus, "bucket", away)
        await a.step(writes("two"))
        assert await a.step(names) == ["one", "two"]
        assert await b.step(names) == []


async def test_a_holder_that_died_with_its_snapshot_is_awaited_once(tmp_path: Path) -> None:
    async with two(tmp_path, wait=1.0) as (a, b, fleet):
        await a.step(writes("good"), sharing=Sharing.LOCKED)
        await fleet.kept()
        a.running.cancel()
        await a.step(writes("lost"), sharing=Sharing.LOCKED)
        assert await b.step(names, sharing=Sharing.LOCKED) == ["good"]
        assert not (await fleet.kept()).awaited


async def test_what_is_no_longer_used_goes(tmp_path: Path) -> None:
    """Directories that were replaced leave nothing behind; the rest is what `du` calls a cache mount."""
    async with two(tmp_path, depth=2) as (a, b, fleet):
        for number in range(6):
            await (a, b)[number % 2].step(writes(str(number)))
            await fleet.kept()
            a.store.release("build")
        await a.step(names)
        (here,) = a.store.carrying("cache:c")
        while {snapshot.id for snapshot in a.store.all()} != {layer.id for layer in a.store.layers(here)}:
            a.store.release("build")
            a.snapshots.tidy()  # what a build still held goes with the next snapshot
            await asyncio.sleep(0.01)
        assert set(a.kinds()) == {RecordType.CACHE_MOUNT}


async def test_hostile_content_stays_inside(tmp_path: Path) -> None:
    """Links out of the mount and devices are content like any other."""
    outside = tmp_path / "outside"
    outside.mkdir()

    def fill(path: Path) -> None:
        (path / "out").symlink_to(outside)
        os.mknod(path / "null", 0o666 | 0o020000, os.makedev(1, 3))
        (path / "...").mkdir()
        (path / "new\nline").write_text("")
        (path / ".wh.x").mkdir()

    async with two(tmp_path) as (a, b, fleet):
        await a.step(fill)
        await fleet.kept()
        there = await b.step(names)
        assert set(there) >= {"...", "new\nline", "null", "out"}  # type: ignore[call-overload]
        assert os.listdir(outside) == []
