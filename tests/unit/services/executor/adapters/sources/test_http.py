"""http sources against a real server: ETags, gzip, checksums, names, owners; what a build has seen stays."""

import gzip
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from services.executor.adapters.snapshots import DiskSnapshots, open_snapshots
from services.executor.adapters.sources.http import HttpDriver
from services.executor.core.source_ids import HttpSource
from shared.blobs.disk import DiskBlobs
from shared.blobs.threads import Pool
from shared.bus.memory import MemoryBus
from shared.errors import BuildFailed, InvalidInput, Unavailable
from shared.model import Platform, Ref, sha256_digest
from shared.registry.client import HttpPool
from shared.session.registry import SessionRegistry
from shared.wire.messages import ResolveSource, RunOp, Scope, SourceResolved
from shared.wire.source_facts import ChecksumWish
from tests.kit.signing import gnupg, needs_gpg
from tests.kit.web import web_server

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.getuid() != 0, reason="needs root")]
_AMD64 = Platform(os="linux", architecture="amd64")


@dataclass
class Site:
    """One page, and who asked for it."""

    port: int = 0
    body: bytes = b"content1"
    headers: dict[str, str] = field(default_factory=lambda: {"ETag": '"1"', "Last-Modified": "Sun, 09 Sep 2001 01:46:40 GMT"})
    status: int = 200
    asked: list[tuple[str, str]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/some/page"


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append((self.command, self.headers.get("Accept-Encoding", "")))
            same = self.headers.get("If-None-Match", "-") == made.headers.get("ETag")
            self.send_response(304 if same else made.status)
            for name, value in made.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0" if same else str(len(made.body)))
            self.end_headers()
            if self.command == "GET" and not same:
                self.wfile.write(made.body)

        do_HEAD = do_GET

    with web_server(Handler) as made.port:
        yield made


class Quiet:
    def status(self, id: str, *, current: int = 0, total: int = 0, name: str = "", done: bool = False) -> None: ...

    def log(self, stream: int, data: bytes) -> None: ...


class World:
    """A driver on real stores."""

    def __init__(self, root: Path) -> None:
        self.store: DiskSnapshots = open_snapshots(root / "executor", style="auto")
        self.blobs = DiskBlobs(root / "blobs")
        self.pool = HttpPool()
        self.threads = Pool("test", 4)

    async def open(self) -> None:
        self.driver = HttpDriver(
            pool=self.pool, blobs=self.blobs, links=SessionRegistry(), store=self.store, threads=self.threads,
            remembered=await MemoryBus().bucket("etags"), home="e1",
        )  # fmt: skip

    async def resolve(self, source: HttpSource, lease: str, checksum: ChecksumWish | None = None) -> SourceResolved:
        request = ResolveSource(
            vertex=sha256_digest(b"v"), op=b"", platform=_AMD64, scope=Scope(lease=lease), for_meta=checksum is not None, checksum=checksum
        )
        return await self.driver.resolve(source, request, Quiet())

    async def make(self, source: HttpSource, lease: str, resolved: SourceResolved | None = None) -> Ref:
        request = RunOp(
            vertex=sha256_digest(b"v"), attempt=1, op=b"", platform=_AMD64, inputs=(), scope=Scope(lease=lease), resolved=resolved
        )
        ref = await self.driver.make(source, request, Quiet())
        assert ref is not None
        return ref

    def file(self, ref: Ref) -> tuple[str, bytes, os.stat_result]:
        with self.store.mount(ref.id) as root:
            (path,) = Path(root).iterdir()
            return path.name, path.read_bytes(), path.stat()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.open()
    yield made
    await made.pool.close()
    made.store.close()
    made.threads.close()
    await made.blobs.close()


async def test_file(world: World, site: Site) -> None:
    """Name from the URL, private, with the time the server told; or as the attributes say."""
    name, data, st = world.file(await world.make(HttpSource(url=site.url), "b1"))
    assert (name, data, st.st_mode, st.st_uid, st.st_mtime) == ("page", b"content1", 0o100600, 0, 1_000_000_000)
    chosen = HttpSource(url=site.url, filename="other", perm=0o755, uid=5, gid=6)
    name, _, st = world.file(await world.make(chosen, "b1"))
    assert (name, st.st_mode, st.st_uid, st.st_gid) == ("other", 0o100755, 5, 6)


async def test_etag(world: World, site: Site) -> None:
    """The second build asks by HEAD only, and gets the same key and the same snapshot."""
    first = await world.resolve(HttpSource(url=site.url), "b1")
    ref = await world.make(HttpSource(url=site.url), "b1", first)
    second = await world.resolve(HttpSource(url=site.url), "b2")

    assert first == second and ref == await world.make(HttpSource(url=site.url), "b2", second)
    assert site.asked == [("GET", "gzip"), ("HEAD", "gzip")]


async def test_within_a_build_nothing_changes(world: World, site: Site) -> None:
    """What a build has resolved it gets, though the page changed and its blob is gone; the next build sees the new page."""
    source = HttpSource(url=site.url)
    await world.resolve(source, "b1")
    site.body, site.headers = b"content2", {"ETag": '"2"'}
    await world.blobs.delete(sha256_digest(b"content1"))

    assert world.file(await world.make(source, "b1"))[1] == b"content1"
    assert world.file(await world.make(source, "b2"))[1] == b"content2"


async def test_gzip_body(world: World, site: Site) -> None:
    """A compressed answer is the plain file."""
    site.body = gzip.compress(b"content1" * 100_000)
    site.headers["Content-Encoding"] = "gzip"

    assert world.file(await world.make(HttpSource(url=site.url), "b1"))[1] == b"content1" * 100_000


async def test_checksum(world: World, site: Site) -> None:
    """A pinned file needs no network for its key; a wrong one is named with both digests."""
    right = HttpSource(url=site.url, checksum="sha256:" + hashlib.sha256(b"content1").hexdigest())
    await world.resolve(right, "b1")
    assert site.asked == []
    assert world.file(await world.make(right, "b1"))[1] == b"content1"
    wrong = replace(right, checksum="sha256:" + "0" * 64)
    with pytest.raises(BuildFailed, match=r"digest mismatch .*: sha256:d0b425e.* \(expected: sha256:0000"):
        await world.make(wrong, "b2")
    assert world.store.statistics()["claimed"] == 0


async def test_a_wished_checksum_is_over_the_body_and_what_is_put_behind_it(world: World, site: Site) -> None:
    source = HttpSource(url=site.url)

    found = await world.resolve(source, "b1", ChecksumWish(algorithm=1, suffix=b"more"))
    assert found.http_wished == "sha384:" + hashlib.sha384(site.body + b"more").hexdigest()
    assert (await world.resolve(source, "b1")).http_wished == ""
    with pytest.raises(InvalidInput, match="unsupported checksum algorithm 9"):
        await world.resolve(source, "b1", ChecksumWish(algorithm=9))


@needs_gpg
async def test_a_wanted_signature(world: World, site: Site) -> None:
    """The body is fetched for it even where a checksum says what it is."""
    with gnupg() as pgp:
        keys, signature, other = pgp.key("one"), pgp.sign("one", site.body), pgp.sign("one", b"other")
    source = HttpSource(url=site.url, checksum=sha256_digest(site.body), public_key=keys, signature=signature)

    found = await world.resolve(source, "b1")
    assert found.http_checksum == source.checksum
    assert site.asked
    for ask in (world.resolve, world.make):
        with pytest.raises(BuildFailed, match=r"failed to verify pgp signature: signature by [0-9A-F]+: openpgp: invalid signature"):
            await ask(replace(source, signature=other), "b2")


async def test_errors(world: World, site: Site) -> None:
    """Bad statuses and dead servers; passwords do not show."""
    site.status = 404
    with pytest.raises(BuildFailed, match="invalid response status 404"):
        await world.resolve(HttpSource(url=site.url), "b1")
    with pytest.raises(Unavailable) as caught:
        await world.resolve(HttpSource(url="http://user:hunter2@127.0.0.1:1/x"), "b1")
    assert "hunter2" not in caught.value.message
