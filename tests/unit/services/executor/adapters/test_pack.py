"""Packing: every layer of a snapshot in the store, packed once, in the compression asked for; unpacking elsewhere gives the tree back."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from services.executor.adapters.layer_compression import decompress
from services.executor.adapters.layer_unpack import Whiteouts, unpack_layer
from services.executor.adapters.pack import LayerPacker
from services.executor.adapters.snapshots import DiskSnapshots, open_snapshots
from services.executor.core.snapshots import LayerStyle
from services.executor.ports import Reporter
from shared.blobs.disk import DiskBlobs
from shared.blobs.threads import Pool
from shared.errors import BlobMissing, Internal, InvalidInput
from shared.model import Layer, Ref, sha256_digest
from shared.oci import detect_compression
from shared.oci.tar_parse import TarReader
from shared.wire.messages import Compression, Pack, Scope

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.getuid() != 0, reason="needs root")]


class Quiet:
    """A reporter that keeps nothing."""

    def status(self, id: str, *, current: int = 0, total: int = 0, name: str = "", done: bool = False) -> None: ...

    def log(self, stream: int, data: bytes) -> None: ...


class OnlyHere:
    """A fetcher with no registry behind it."""

    def __init__(self, blobs: DiskBlobs) -> None:
        self.blobs = blobs

    async def ensure(self, layer: Layer, sessions: object, report: Reporter) -> None:
        if await self.blobs.find_missing([layer.digest]):
            raise BlobMissing(layer.digest)


class World:
    """A snapshot store, a blob store and the packer between them."""

    def __init__(self, root: Path, style: str) -> None:
        self.root = root
        self.store: DiskSnapshots = open_snapshots(root / "executor", style=style)
        self.blobs = DiskBlobs(root / "blobs")
        self.threads = Pool("test", 4)
        self.packer = LayerPacker(
            store=self.store, blobs=self.blobs, fetch=OnlyHere(self.blobs), threads=self.threads, scratch=root / "packing"  # type: ignore[arg-type]
        )  # fmt: skip

    def layer(self, parent: str | None, change: Callable[[Path], object]) -> str:
        """A committed snapshot."""
        made = self.store.prepare(parent, lease="l", description="made by test")
        with self.store.mount(made.id, writable=True) as path:
            change(Path(path))
        return self.store.commit(made.id).id

    async def pack(
        self, id: str, type: str = "gzip", *, force: bool = False, epoch: int = -1, base: int = 0, level: int = -1, transport: bool = False
    ) -> tuple[Layer, ...]:
        request = Pack(
            ref=Ref(id=id), compression=Compression(type=type, force=force, level=level), scope=Scope(lease="l"), rewrite_epoch=epoch,
            base_layers=base, transport=transport,
        )  # fmt: skip
        return await self.packer.pack(id, request, Quiet())

    async def tar(self, layer: Layer) -> bytes:
        async with self.blobs.open(layer.digest) as reader:
            data = await reader.read_at(0, reader.size)
        assert layer.size == len(data)
        tar = b"".join(decompress(iter([data])))
        assert layer.diff_id == sha256_digest(tar)
        return tar


@pytest.fixture(params=["overlayfs", "native"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, request.param)
    yield made
    made.store.close()
    made.threads.close()
    await made.blobs.close()


def _base(root: Path) -> None:
    (root / "keep").write_text("keep")
    (root / "gone").write_text("gone")
    (root / "dir").mkdir()
    (root / "dir/old").write_text("old")


def _change(root: Path) -> None:
    (root / "gone").unlink()
    (root / "dir/new").write_text("new")
    os.utime(root / "dir/new", (2_000_000_000, 2_000_000_000))


async def test_layers_hold_only_changes(world: World, tmp_path: Path) -> None:
    """One blob per layer, base first; deletions as whiteouts; both snapshotters give the same diff."""
    top = world.layer(world.layer(None, _base), _change)
    base, change = await world.pack(top)

    assert [m.name.decode() for m in TarReader(iter([await world.tar(base)]))] == ["dir/", "dir/old", "gone", "keep"]
    assert sorted(m.name.decode() for m in TarReader(iter([await world.tar(change)]))) == [".wh.gone", "dir/", "dir/new"]
    assert change.description == "made by test" and change.created_at > 10**18
    assert change.media_type == "application/vnd.oci.image.layer.v1.tar+gzip"
    for i, layer in enumerate((base, change)):
        target = tmp_path / "out"
        target.mkdir(exist_ok=True)
        unpack_layer(iter([await world.tar(layer)]), str(target), whiteouts=Whiteouts.REMOVE)
        assert (i == 0) is (target / "gone").exists()
    assert (target / "dir/new").read_text() == "new"


async def test_packed_once(world: World) -> None:
    """A second pack, and several at once, give the same layers without another blob."""
    top = world.layer(None, _base)
    results = []
    async with asyncio.TaskGroup() as tasks:
        tasks_ = [tasks.create_task(world.pack(top)) for _ in range(5)]
    results = [t.result() for t in tasks_]

    assert len(set(results)) == 1
    assert results[0] == await world.pack(top, "zstd"), "without force an existing blob serves"
    assert len([d async for d in world.blobs.walk()]) == 1
    assert world.packer.statistics() == {"packing": 0} and os.listdir(world.root / "packing") == []


async def test_force_converts(world: World) -> None:
    """With force the same tar is compressed again; the diff id stays."""
    top = world.layer(None, _base)
    (gzip,) = await world.pack(top)
    for type in ("zstd", "uncompressed", "gzip"):
        (layer,) = await world.pack(top, type, force=True)
        assert gzip.diff_id == layer.diff_id
        async with world.blobs.open(layer.digest) as reader:
            assert type == detect_compression(await reader.read_at(0, 8))
    assert gzip == (await world.pack(top, force=True))[0]


async def test_a_lost_blob_is_packed_again(world: World) -> None:
    """A note of a blob that the store has lost is no answer."""
    top = world.layer(None, _base)
    (first,) = await world.pack(top)
    await world.blobs.delete(first.digest)

    assert (first,) == await world.pack(top)
    assert await world.tar(first)


async def test_epoch_clamps_new_layers(world: World) -> None:
    """Times later than the epoch become the epoch, in layers above the base only."""
    top = world.layer(world.layer(None, _base), _change)
    plain = await world.pack(top)
    base, change = await world.pack(top, epoch=1_000_000_000, base=1)

    assert base == plain[0] and change.diff_id != plain[1].diff_id
    times = {m.name: m.mtime for m in TarReader(iter([await world.tar(change)]))}
    assert times[b"dir/new"] == 1_000_000_000 * 10**9 and times[b".wh.gone"] == 0
    assert plain == await world.pack(top), "the plain layer is still the plain one"


async def test_bad_compression_is_named(world: World) -> None:
    """Before any work is done."""
    top = world.layer(None, _base)
    with pytest.raises(InvalidInput, match="lzma"):
        await world.pack(top, "lzma")
    with pytest.raises(InvalidInput, match="level"):
        await world.pack(top, level=99)


async def test_an_unreadable_layer_leaves_nothing(world: World) -> None:
    """A failure inside the pack is raised, and neither a blob nor scratch stays."""
    top = world.layer(None, _base)
    layer = world.store.layers(top)[0]
    assert layer.style in LayerStyle
    os.rename(layer.path, layer.path + "x")
    with pytest.raises(Internal, match="No such file"):
        await world.pack(top)
    os.rename(layer.path + "x", layer.path)

    assert [d async for d in world.blobs.walk()] == [] and os.listdir(world.root / "packing") == []


async def test_what_was_packed_for_other_executors_is_no_image_layer(world: World) -> None:
    """The quick blob travels; an image gets the compression it asks for, with the same content."""
    id = world.layer(None, lambda path: (path / "a").write_bytes(b"a" * 10_000))
    quick = await world.pack(id, "zstd", level=1, transport=True)
    image = await world.pack(id)
    again = await world.pack(id, "zstd", level=1, transport=True)

    assert [layer.transport for layer in (*quick, *image)] == [True, False]
    assert "zstd" in quick[0].media_type and "gzip" in image[0].media_type
    assert quick[0].diff_id == image[0].diff_id
    assert await world.tar(quick[0]) == await world.tar(image[0])
    assert again == quick


async def test_a_layer_that_an_image_has_already_serves_other_executors(world: World) -> None:
    """Nothing is compressed twice for them."""
    id = world.layer(None, lambda path: (path / "a").write_bytes(b"a"))
    image = await world.pack(id)
    assert await world.pack(id, "zstd", level=1, transport=True) == image
