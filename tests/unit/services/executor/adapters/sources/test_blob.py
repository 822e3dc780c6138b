"""Blobs of a real registry as files."""

import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.executor.adapters.snapshots import DiskSnapshots, open_snapshots
from services.executor.adapters.sources.blob import BlobDriver
from services.executor.adapters.sources.image_store import Origins
from services.executor.core.source_ids import BlobSource
from shared.blobs.disk import DiskBlobs
from shared.blobs.memory import MemoryBlobs
from shared.blobs.ports import Blobs
from shared.blobs.threads import Pool
from shared.errors import BuildmeshError, InvalidInput
from shared.model import Platform, sha256_digest
from shared.oci import parse_manifest, parse_reference
from shared.registry.auth import Anonymous
from shared.registry.client import Asker, HttpPool
from shared.registry.hosts import RegistryHosts
from shared.registry.pull import Puller
from shared.session.registry import SessionRegistry
from shared.wire.messages import ResolveSource, RunOp, Scope

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.getuid() != 0, reason="needs root")]
_AMD64 = Platform(os="linux", architecture="amd64")


def only_file(root: Path) -> tuple[str, bytes, os.stat_result]:
    """Name, content and looks of the one file in a tree."""
    (path,) = root.iterdir()
    return path.name, path.read_bytes(), path.stat()


class Quiet:
    def status(self, id: str, *, current: int = 0, total: int = 0, name: str = "", done: bool = False) -> None: ...

    def log(self, stream: int, data: bytes) -> None: ...


class World:
    """A driver on real stores."""

    def __init__(self, root: Path, blobs: Blobs) -> None:
        self.store: DiskSnapshots = open_snapshots(root / "executor", style="auto")
        self.pool = HttpPool()
        self.threads = Pool("test", 4)
        origins = Origins(pool=self.pool, hosts=RegistryHosts(), links=SessionRegistry())
        self.driver = BlobDriver(home="e1", origins=origins, blobs=blobs, store=self.store, threads=self.threads)

    async def make(self, source: BlobSource) -> tuple[str, bytes, os.stat_result]:
        request = RunOp(vertex=sha256_digest(b"v"), attempt=1, op=b"", platform=_AMD64, inputs=(), scope=Scope(lease="l"))
        ref = await self.driver.make(source, request, Quiet())
        assert ref is not None
        with self.store.mount(ref.id) as root:
            return only_file(Path(root))

    async def keys(self, source: BlobSource) -> tuple[str, ...]:
        request = ResolveSource(vertex=sha256_digest(b"v"), op=b"", platform=_AMD64, scope=Scope(lease="l"))
        return (await self.driver.resolve(source, request, Quiet())).keys


@pytest.fixture(params=["disk", "far"])
async def world(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path, DiskBlobs(tmp_path / "blobs") if request.param == "disk" else MemoryBlobs())
    yield made
    await made.pool.close()
    made.store.close()
    made.threads.close()


@pytest.fixture
async def blob(busybox: str) -> str:
    """repository@digest of busybox's layer."""
    pool = HttpPool()
    reference = parse_reference(busybox)
    puller = Puller(pool, RegistryHosts(), Asker(credentials=Anonymous()))
    document = parse_manifest((await puller.manifest(reference)).data)
    await pool.close()
    return f"{reference.name}@{document.children()[-1].digest}"


async def test_file(world: World, blob: str) -> None:
    """Named by its hash, private and of time 0; or as the attributes say."""
    reference = parse_reference(blob)
    name, data, st = await world.make(BlobSource(reference=reference))

    assert reference.digest == sha256_digest(data) == f"sha256:{name}"
    assert (st.st_mode, st.st_uid, st.st_mtime) == (0o100600, 0, 0)
    name, _, st = await world.make(BlobSource(reference=reference, filename="a/b.tgz", perm=0o644, uid=5, gid=6))
    assert (name, st.st_mode, st.st_uid, st.st_gid) == ("b.tgz", 0o100644, 5, 6)
    async with world.driver.file(BlobSource(reference=reference), (), Quiet()) as path:
        assert data == path.read_bytes()


async def test_keys_tell_what_differs(world: World, blob: str) -> None:
    """Digest, name, mode and owner; not the repository."""
    reference = parse_reference(blob)
    variants = [
        BlobSource(reference=reference), BlobSource(reference=reference, filename="x"), BlobSource(reference=reference, perm=0o644),
        BlobSource(reference=reference, uid=1), BlobSource(reference=reference.with_digest(sha256_digest(b"x"))),
    ]  # fmt: skip
    assert len(variants) == len({await world.keys(v) for v in variants})


async def test_refusals(world: World, blob: str) -> None:
    """A blob that is not there, and a layout without a store."""
    reference = parse_reference(blob)
    with pytest.raises(BuildmeshError, match="not found"):
        await world.make(BlobSource(reference=reference.with_digest(sha256_digest(b"x"))))
    with pytest.raises(InvalidInput, match="requires store id"):
        await world.make(BlobSource(reference=reference, oci_layout=True))
