"""Refs become snapshots from their layers: once, verified, from the deepest part that is here."""

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.executor.adapters.layer_compression import compressor
from services.executor.adapters.layer_notes import LAYER_NOTE, TRANSPORT_NOTE
from services.executor.adapters.materialise import Materialise
from services.executor.adapters.snapshots import DiskSnapshots, open_snapshots
from services.executor.ports import Reporter
from shared.blobs.disk import DiskBlobs
from shared.blobs.memory import MemoryBlobs
from shared.blobs.ports import Blobs
from shared.blobs.threads import Pool
from shared.errors import BlobMissing, CallLost, InvalidInput, RefLost
from shared.model import Digest, Layer, Ref, sha256_digest
from shared.oci import Compression, chain_ids
from shared.oci.tar_header import encode_header, padding
from shared.run.flight import Flight
from shared.wire.messages import LayersFound, LayersOf, Scope

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.getuid() != 0, reason="needs root")]


class Quiet:
    def status(self, id: str, *, current: int = 0, total: int = 0, name: str = "", done: bool = False) -> None: ...

    def log(self, stream: int, data: bytes) -> None: ...


class OnlyHere:
    """A fetcher with no registry behind it, that counts."""

    def __init__(self, blobs: Blobs) -> None:
        self.blobs = blobs
        self.asked: list[Digest] = []

    async def ensure(self, layer: Layer, sessions: object, report: Reporter) -> None:
        self.asked.append(layer.digest)
        if await self.blobs.find_missing([layer.digest]):
            raise BlobMissing(layer.digest)


class Answers:
    """Calls to other services: no executor answers, the cachestore knows `layers`."""

    def __init__(self) -> None:
        self.layers: tuple[Layer, ...] = ()

    async def call(self, subject: str, request: object, **patience: object) -> object:
        if isinstance(request, LayersOf):
            return LayersFound(layers=self.layers)
        raise CallLost(f"nobody listens on {subject}")


class World:
    """A snapshot store, a blob store, and what stands between them."""

    def __init__(self, root: Path, blobs: Blobs, tasks: asyncio.TaskGroup, style: str = "auto") -> None:
        self.store: DiskSnapshots = open_snapshots(root / "executor", style=style)
        self.blobs = blobs
        self.fetch = OnlyHere(blobs)
        self.threads = Pool("test", 4)
        self.calls = Answers()
        self.materialise = Materialise(
            home="e1", store=self.store, blobs=blobs, fetch=self.fetch, calls=self.calls, threads=self.threads, flight=Flight(tasks)  # type: ignore[arg-type]
        )  # fmt: skip

    async def layer(self, name: str, data: bytes, *, source: str = "") -> Layer:
        """A gzip layer with one file, in the blob store."""
        tar = encode_header(name=name.encode(), mode=0o644, size=len(data)) + data + padding(len(data)) + bytes(1024)
        gzip = compressor(Compression.GZIP)
        blob = gzip.compress(tar) + gzip.flush()
        digest = await self.blobs.put(blob)
        return Layer(digest=digest, diff_id=sha256_digest(tar), size=len(blob), media_type="application/x", source=source)

    async def one(self, *layers: Layer) -> str:
        return await self.materialise.one(Ref(id="r", layers=layers), Scope(lease="l"), Quiet())

    def files(self, id: str) -> dict[str, bytes]:
        with self.store.mount(id) as root:
            return {p.name: p.read_bytes() for p in Path(root).iterdir()}


@pytest.fixture(params=["disk", "far", "full trees"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    """Blobs as local files, and blobs that only come as chunks; and a disk on which each snapshot is a whole tree."""
    async with asyncio.TaskGroup() as tasks:
        blobs = MemoryBlobs() if request.param == "far" else DiskBlobs(tmp_path / "blobs")
        made = World(tmp_path, blobs, tasks, style="native" if request.param == "full trees" else "auto")
        yield made
        made.store.close()
        made.threads.close()


async def test_chain(world: World) -> None:
    """All layers, found again by any prefix; equal work at the same time is done once."""
    a, b = await world.layer("a", b"1" * 100_000), await world.layer("b", b"2")
    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(world.one(a, b)) for _ in range(4)]
    ids = {task.result() for task in made}

    assert len(ids) == 1 and world.files(ids.pop()) == {"a": b"1" * 100_000, "b": b"2"}
    assert sorted([a.digest, b.digest]) == sorted(world.fetch.asked)
    c = await world.layer("c", b"3")
    assert {"a", "b", "c"} == world.files(await world.one(a, b, c)).keys()
    assert [c.digest] == world.fetch.asked[2:], "what is here is not asked for again"


async def test_a_lie_about_the_content_poisons_nothing(world: World) -> None:
    """A layer whose bytes are not those of its diff id is refused, and no snapshot answers to that diff id."""
    honest = await world.layer("a", b"honest")
    evil = await world.layer("a", b"evil", source="localhost/evil")
    with pytest.raises(InvalidInput, match="wrong diff id"):
        await world.one(replace(evil, diff_id=honest.diff_id))
    with pytest.raises(RefLost, match="instead of"):
        await world.one(replace(evil, diff_id=honest.diff_id, source=""))

    assert world.store.find(f"chain:{chain_ids([honest.diff_id])[-1]}") is None
    assert world.files(await world.one(honest)) == {"a": b"honest"}
    assert world.store.statistics()["claimed"] == 0


async def test_many_layers_come_side_by_side_and_lie_in_order(world: World) -> None:
    """Each covers what lies below it. One that is damaged ends the others, and leaves what lies below it for the next time."""
    layers = [await world.layer("same", str(number).encode()) for number in range(12)]
    assert world.files(await world.one(*layers)) == {"same": b"11"}
    assert len(world.store.layers(await world.one(*layers))) == 12

    others = [await world.layer("other", str(number).encode()) for number in range(12)]
    evil = replace(others[6], diff_id=layers[0].diff_id)
    with pytest.raises(RefLost, match="instead of"):
        await world.one(*others[:6], evil, *others[7:])
    assert world.store.statistics()["claimed"] == 0
    assert world.files(await world.one(*others)) == {"other": b"11"}


async def test_what_cannot_be_had(world: World) -> None:
    """A missing blob and an unknown snapshot both mean that the ref is lost."""
    layer = await world.layer("a", b"1")
    await world.blobs.delete(layer.digest)
    with pytest.raises(RefLost):
        await world.one(layer)
    with pytest.raises(RefLost):
        await world.materialise.one(Ref(id="unknown", home="e1"), Scope(lease="l"), Quiet())
    with pytest.raises(RefLost):
        await world.materialise.all([None, Ref(id="nothing")], Scope(lease="l"), Quiet())


async def test_what_a_dead_executor_had_published_is_not_lost(world: World) -> None:
    """Its layers come from the blob store; what nobody has published is lost."""
    orphan = Ref(id="orphan", home="dead")
    with pytest.raises(RefLost):
        await world.materialise.one(orphan, Scope(lease="l"), Quiet())
    world.calls.layers = (replace(await world.layer("a", b"1"), transport=True),)
    id = await world.materialise.one(orphan, Scope(lease="l"), Quiet())

    assert world.files(id) == {"a": b"1"}
    assert world.store.note(id, LAYER_NOTE) is None
    assert world.store.note(id, TRANSPORT_NOTE) is not None
