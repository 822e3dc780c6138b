"""Local sources over a real session: only changes travel, hashes stay right, broken transfers leave nothing believed."""

import os
from collections.abc import AsyncIterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from services.executor.adapters.content_hash import ContentHashes
from services.executor.adapters.snapshots import DiskSnapshots, open_snapshots
from services.executor.adapters.sources.local import LocalDriver
from services.executor.core.selection import Selection
from services.executor.core.snapshots import RecordType
from services.executor.core.source_ids import LocalSource
from shared.blobs.threads import Pool
from shared.bus.memory import MemoryBus
from shared.errors import InvalidInput, NotFound, SessionGone, Unavailable
from shared.model import Platform, Ref, sha256_digest
from shared.rpc import Call
from shared.session import filesync
from shared.session.filesend import send_tree
from shared.session.registry import SessionRegistry
from shared.session.tree_reader import open_file, walk
from shared.wire.messages import ResolveSource, RunOp, Scope
from tests.kit.pipes import attached
from tests.kit.slow_calls import cancelled_during

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.getuid() != 0, reason="needs root")]
_AMD64 = Platform(os="linux", architecture="amd64")
_VERTEX = sha256_digest(b"v")
_CONTEXT = LocalSource(name="context")


class CallBytes:
    """A server's Call as a ByteStream."""

    def __init__(self, call: Call) -> None:
        self.send = call.send_chunk
        self.receive = call.chunk
        self.headers: Mapping[str, str] = {}

    async def close_send(self) -> None:
        return


class Seen:
    """A reporter that remembers the statuses."""

    def __init__(self) -> None:
        self.last: dict[str, tuple[int, bool]] = {}

    def status(self, id: str, *, current: int = 0, total: int = 0, name: str = "", done: bool = False) -> None:
        self.last[id] = (current, done)

    def log(self, stream: int, data: bytes) -> None: ...


class World:
    """A client that shows `source`, and a driver."""

    def __init__(self, root: Path) -> None:
        self.source = root / "source"
        self.source.mkdir()
        self.threads = Pool("test", 4)
        self.client_threads = ThreadPoolExecutor(2)
        self.store: DiskSnapshots = open_snapshots(root / "executor", style="auto")
        self.hashes = ContentHashes(root / "hashes")
        self.sessions = SessionRegistry()
        self.driver = LocalDriver(home="e1", store=self.store, hashes=self.hashes, links=self.sessions, threads=self.threads, places=None)
        self.report = Seen()
        self.broken = False

    async def diff_copy(self, call: Call) -> None:
        if call.metadata.get("dir-name") != "context":
            raise NotFound(f'no access allowed to dir "{call.metadata.get("dir-name")}"')
        entries = walk(str(self.source))
        if self.broken:
            await call.send_chunk(b"\0\0\0\0\x03zzz")
            return
        await send_tree(CallBytes(call), entries, partial(open_file, str(self.source)), threads=self.client_threads)
        while await call.chunk():
            pass

    async def make(self, lease: str, source: LocalSource = _CONTEXT, sessions: tuple[str, ...] = ("sess1",), identity: str = "") -> Ref:
        scope = Scope(lease=lease, sessions=sessions, identity=identity)
        request = RunOp(vertex=_VERTEX, attempt=1, op=b"", platform=_AMD64, inputs=(), scope=scope)
        ref = await self.driver.make(source, request, self.report)
        assert ref is not None
        return ref

    def hash(self, ref: Ref, path: str = "/") -> str:
        return self.hashes.hash(ref.id, lambda: self.store.mount(ref.id), [Selection(path=path)])

    def fresh_hash(self, ref: Ref, path: str) -> str:
        """As somebody who knows nothing would compute it."""
        self.hashes.forget("nobody")
        return self.hashes.hash("nobody", lambda: self.store.mount(ref.id), [Selection(path=path)])


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    async with attached(made.sessions, "sess1", {filesync.METHOD: made.diff_copy}, tmp_path):
        yield made
    made.store.close()
    made.threads.close()
    made.client_threads.shutdown()


def _fill(root: Path) -> None:
    (root / "d").mkdir()
    for i in range(20):
        (root / "d" / f"f{i}").write_text(f"content {i}" * 100)
    (root / "link").symlink_to("d/f1")
    os.link(root / "d/f1", root / "hard")


@pytest.mark.parametrize("step", ["prepare", "claim", "freeze"])
async def test_a_cancel_leaves_nothing_claimed(world: World, step: str) -> None:
    """In whichever of the store's calls it comes: the directory is free for the next build."""
    if step == "claim":
        await world.make("before")
        world.store.release("before")

    await cancelled_during(world.store, step, world.make("build"))

    world.store.release("build")
    assert world.store.statistics()["claimed"] == 0
    await world.make("after")
    assert len([s for s in world.store.all() if s.record_type is RecordType.LOCAL_SOURCE and s.mutable]) == 1


async def test_only_changes_travel(world: World) -> None:
    """The second build with an unchanged directory gets stats only, a changed file alone is sent; the same directory is used again."""
    _fill(world.source)
    first = await world.make("build1")
    sent_first = world.report.last["transferring context:"][0]
    hash_first = world.hash(first, "/d")
    world.store.release("build1")
    second = await world.make("build2")
    sent_second = world.report.last["transferring context:"][0]

    assert hash_first == world.hash(second, "/d") == world.fresh_hash(second, "/d")
    assert sent_first > 15_000 > 3_000 > sent_second
    world.store.release("build2")
    (world.source / "d/f3").write_text("changed")
    (world.source / "d/f4").unlink()
    (world.source / "link").unlink()
    (world.source / "link").symlink_to("d/f2")
    third = await world.make("build3")
    assert world.report.last["transferring context:"] == (world.report.last["transferring context:"][0], True)
    for path in ("/d", "/link", "/hard"):
        assert world.hash(third, path) == world.fresh_hash(third, path)
    assert hash_first != world.hash(third, "/d")
    with world.store.mount(third.id) as path:
        assert (Path(path) / "d/f3").read_text() == "changed" and not (Path(path) / "d/f4").exists()


async def test_nobody_builds_with_files_that_another_identity_has_sent(world: World) -> None:
    """Who names the other's directory, and a file like his by size and time, neither gets his content nor leaves him another."""
    file = world.source / "f"
    file.write_text("mine, of alice")
    times = file.stat().st_mtime_ns
    alice = await world.make("build1", identity="alice")
    world.store.release("build1")
    file.write_text("from malloryyy")
    os.utime(file, ns=(times, times))
    mallory = await world.make("build2", identity="mallory")

    with world.store.mount(alice.id) as path:
        assert (Path(path) / "f").read_text() == "mine, of alice"
    with world.store.mount(mallory.id) as path:
        assert (Path(path) / "f").read_text() == "from malloryyy"


async def test_two_builds_at_once(world: World) -> None:
    """A directory that another build still uses is not touched: the second gets its own."""
    _fill(world.source)
    first = await world.make("build1")
    before = world.hash(first)
    (world.source / "d/f3").write_text("changed")
    second = await world.make("build2")

    assert first.id != second.id and before == world.hash(first) != world.hash(second)
    with world.store.mount(first.id) as path:
        assert (Path(path) / "d/f3").read_text().startswith("content 3")


async def test_a_broken_transfer_is_mended_by_the_next(world: World) -> None:
    """An error reaches the caller; the next transfer is right, and so are its hashes."""
    _fill(world.source)
    await world.make("build1")
    world.store.release("build1")
    world.broken = True
    with pytest.raises((InvalidInput, Unavailable)):
        await world.make("build2")
    world.broken = False
    third = await world.make("build3")

    assert world.hash(third, "/d") == world.fresh_hash(third, "/d")
    assert world.store.statistics()["claimed"] == 0


async def test_hashes_survive_a_restart(world: World, tmp_path: Path) -> None:
    """After a restart of the store the directory is found again, and what did not change is not read again."""
    _fill(world.source)
    expected = world.hash(await world.make("build1"), "/d")
    world.store.close()
    world.store = open_snapshots(tmp_path / "executor", style="auto")
    world.hashes = ContentHashes(tmp_path / "hashes")
    world.driver = LocalDriver(home="e1", store=world.store, hashes=world.hashes, links=world.sessions, threads=world.threads, places=None)
    again = await world.make("build2")

    assert world.report.last["transferring context:"][0] < 3_000
    assert expected == world.hash(again, "/d")


async def test_who_is_asked(world: World) -> None:
    """Every session of the build in turn; no session and no such directory are clear errors."""
    (world.source / "f").write_text("x")
    assert await world.make("b", LocalSource(name="context", session="sess1"), ("unused",))
    with pytest.raises(NotFound, match='no access allowed to dir "other"'):
        await world.make("b", LocalSource(name="other"))
    with pytest.raises(InvalidInput, match="without session"):
        await world.make("b", sessions=())
    world.driver._links = _Gone()  # type: ignore[assignment]
    with pytest.raises(SessionGone):
        await world.make("b")


class _Gone:
    async def describe(self, session_id: str, *, wait: float = 5.0) -> None:
        raise SessionGone(f"session {session_id} is gone")


async def test_metadata_only(world: World) -> None:
    """With metadata transfer only the excepted files come; the stats of all are in one file."""
    _fill(world.source)
    ref = await world.make("b", LocalSource(name="context", metadata_only=True, metadata_exceptions=("d/f1",)))

    with world.store.mount(ref.id) as path:
        assert sorted(os.listdir(path)) == [".fsutil-metadata", "d"] and os.listdir(Path(path) / "d") == ["f1"]
    assert world.hash(ref) == world.hash(ref)


async def test_keys_are_random_by_session(world: World) -> None:
    """The key names the session: nobody else can hit it, and it is marked as not to be kept."""

    async def key(session: str, source: LocalSource) -> tuple[str, ...]:
        scope = Scope(lease="l", sessions=(session,))
        request = ResolveSource(vertex=_VERTEX, op=b"", platform=_AMD64, scope=scope)
        return (await world.driver.resolve(source, request, world.report)).keys

    one = await key("s1", LocalSource(name="context"))
    assert one[0].startswith("random:") and one == await key("s1", LocalSource(name="context"))
    assert len({
        one,
        await key("s2", LocalSource(name="context")),
        await key("s1", LocalSource(name="context", include=("a",))),
        await key("s1", LocalSource(name="other")),
    }) == 4  # fmt: skip


async def test_a_directory_goes_to_the_executor_that_has_it(world: World) -> None:
    """Whoever resolves it says where its last state is; before the first transfer that is himself, without a bus as well."""
    _fill(world.source)
    bus = MemoryBus()
    parts = {"store": world.store, "hashes": world.hashes, "links": world.sessions, "threads": world.threads}
    world.driver = LocalDriver(home="e1", **parts, places=await bus.bucket("contexts"))  # type: ignore[arg-type]
    other = LocalDriver(home="e2", **parts, places=await bus.bucket("contexts"))  # type: ignore[arg-type]
    request = ResolveSource(vertex=_VERTEX, op=b"", platform=_AMD64, scope=Scope(lease="l", sessions=("sess1",)))

    assert (await other.resolve(_CONTEXT, request, world.report)).executor == "e2"
    await world.make("build1")
    assert (await other.resolve(_CONTEXT, request, world.report)).executor == "e1"
    assert (await other.resolve(replace(_CONTEXT, shared_key_hint="another"), request, world.report)).executor == "e2"
    gone = replace(request, scope=Scope(lease="l", sessions=("gone",)))
    assert (await other.resolve(_CONTEXT, gone, world.report)).executor == "e2"
