"""git sources against the real git program, over http from git's own server."""

import asyncio
import itertools
import os
import subprocess
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from services.executor.adapters.agent_sockets import AgentSockets
from services.executor.adapters.snapshots import DiskSnapshots, open_snapshots
from services.executor.adapters.sources.git import GitDriver
from services.executor.core.signatures.git_objects import SignatureWish
from services.executor.core.snapshots import RecordType
from services.executor.core.source_ids import BlobSource, GitSource
from shared.blobs.threads import Pool
from shared.errors import BuildFailed, InvalidInput
from shared.model import Platform, Ref, sha256_digest
from shared.session.registry import SessionRegistry
from shared.wire.messages import ResolveSource, RunOp, Scope, SourceResolved
from tests.kit.signing import needs_ssh_keygen, ssh_key
from tests.kit.slow_calls import cancelled_during
from tests.kit.web import served_folder

pytestmark = [pytest.mark.root, pytest.mark.skipif(os.getuid() != 0, reason="needs root")]
_LEASES = map(str, itertools.count())  # each question is a build of its own
_AMD64 = Platform(os="linux", architecture="amd64")
_ENV = {
    **os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b",
    "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b", "GIT_COMMITTER_DATE": "1000000000 +0000",
}  # fmt: skip


def git(folder: Path, *args: str) -> str:
    """Run git in a repository of the test."""
    command = ["git", "-c", "init.defaultBranch=main", "-c", "protocol.file.allow=always", *args]
    return subprocess.run(command, cwd=folder, env=_ENV, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def times(root: Path) -> set[float]:
    """Modification times of a whole tree."""
    return {p.lstat().st_mtime for p in [root, *root.rglob("*")]}


class Log:
    """A reporter that keeps the output."""

    def __init__(self) -> None:
        self.text = b""

    def status(self, id: str, *, current: int = 0, total: int = 0, name: str = "", done: bool = False) -> None: ...

    def log(self, stream: int, data: bytes) -> None:
        self.text += data


class Bundles:
    """Blobs that lie in a folder: what BlobDriver.file gives."""

    found: ClassVar[dict[str, Path]] = {}

    @asynccontextmanager
    async def file(self, source: BlobSource, sessions: Sequence[str], report: object) -> AsyncIterator[Path]:
        yield self.found[str(source.reference.digest)]


class World:
    """A repository, the web server that shows it (dumb http), and a driver."""

    def __init__(self, root: Path, port: int) -> None:
        self.work = root / "work"
        self.work.mkdir()
        self.bare = root / "www" / "repo.git"
        self.url = f"http://127.0.0.1:{port}/repo.git"
        git(self.work, "init")
        git(root, "init", "--bare", str(self.bare))
        self.store: DiskSnapshots = open_snapshots(root / "executor", style="auto")
        self.threads = Pool("test", 4)
        sessions = SessionRegistry()
        self.driver = GitDriver(
            home="e1",
            store=self.store,
            links=sessions,
            agents=AgentSockets(root / "ssh", sessions),
            threads=self.threads,
            bundles=Bundles(),  # type: ignore[arg-type]
        )
        self.log = Log()

    def commit(self, *tags: str, branch: str = "main", **files: str) -> str:
        """Write, commit, push; returns the commit."""
        git(self.work, "checkout", "-B", branch)
        for name, text in files.items():
            path = self.work / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        git(self.work, "add", "-A")
        git(self.work, "commit", "--allow-empty", "-m", "c")
        for tag in tags:
            git(self.work, "tag", "-f", "-a", "-m", tag, tag) if tag.startswith("a") else git(self.work, "tag", "-f", tag)
        self.publish()
        return git(self.work, "rev-parse", "HEAD")

    def publish(self) -> None:
        git(self.work, "push", "--force", "--tags", str(self.bare), "HEAD")
        git(self.bare, "update-server-info")

    async def resolve(self, source: GitSource, *, return_object: bool = False, lease: str = "") -> SourceResolved:
        request = ResolveSource(
            vertex=sha256_digest(b"v"), op=b"", platform=_AMD64, scope=Scope(lease=lease or next(_LEASES)), return_object=return_object
        )
        return await self.driver.resolve(source, request, self.log)

    async def make(self, source: GitSource, resolved: SourceResolved | None = None, *, lease: str = "") -> Ref:
        request = RunOp(
            vertex=sha256_digest(b"v"),
            attempt=1,
            op=b"",
            platform=_AMD64,
            inputs=(),
            scope=Scope(lease=lease or next(_LEASES)),
            resolved=resolved,
        )
        ref = await self.driver.make(source, request, self.log)
        assert ref is not None
        return ref

    def files(self, ref: Ref) -> dict[str, str]:
        with self.store.mount(ref.id) as root:
            paths = [p for p in Path(root).rglob("*") if p.is_file() and ".git/" not in f"{p.relative_to(root)}/"]
            return {str(p.relative_to(root)): p.read_text() for p in paths}


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "www").mkdir()

    with served_folder(tmp_path / "www") as port:
        yield port


@pytest.fixture
async def world(tmp_path: Path, port: int) -> AsyncIterator[World]:
    made = World(tmp_path, port)
    yield made
    made.store.close()
    made.threads.close()


async def test_branch(world: World) -> None:
    """The default branch and a named one; the tree without .git; the second time from the snapshot; du tells what it is."""
    commit = world.commit(a_txt="1", d__b_txt="2")
    source = GitSource(remote=world.url)
    resolved = await world.resolve(source)
    ref = await world.make(source, resolved)

    assert commit == resolved.pin == resolved.git_checksum and resolved.git_ref == "refs/heads/main"
    assert world.files(ref) == {"a.txt": "1", "d/b.txt": "2"}
    assert ref == await world.make(replace(source, ref="main"))
    record = world.store.get(ref.id)
    assert (RecordType.GIT_CHECKOUT, f"git snapshot for {world.url}#") == (record.record_type, record.description)


@pytest.mark.parametrize(("step", "nth"), [("claim", 1), ("prepare", 1), ("prepare", 2), ("commit", 1)])
async def test_a_cancel_leaves_nothing_claimed(world: World, step: str, nth: int) -> None:
    """In whichever of the store's calls it comes, of the shared repository or of the checkout; the next build finds both free."""
    world.commit(a_txt="1")
    source = GitSource(remote=world.url)
    resolved = await world.resolve(source)

    await cancelled_during(world.store, step, world.make(source, resolved, lease="cancelled"), nth=nth)

    world.store.release("cancelled")
    assert world.store.statistics()["claimed"] == world.store.statistics()["mounts"] == 0
    assert world.files(await world.make(source, resolved)) == {"a.txt": "1"}


async def test_a_moved_branch(world: World) -> None:
    """After a push the key changes, and so does the tree; what was resolved before is still made from its own commit."""
    first = world.commit(a_txt="1")
    source = GitSource(remote=world.url, ref="main")
    old = await world.resolve(source)
    second = world.commit(a_txt="2")
    new = await world.resolve(source)

    assert old.keys != new.keys and (first, second) == (old.pin, new.pin)
    assert world.files(await world.make(source, new)) == {"a.txt": "2"}
    assert world.files(await world.make(source, old)) == {"a.txt": "1"}


async def test_within_a_build_nothing_moves(world: World) -> None:
    """A build that has seen a ref goes on with it, with other options too; another build sees the new one."""
    first = world.commit(a_txt="1")
    source = GitSource(remote=world.url, ref="main")
    await world.resolve(source, lease="b1")
    second = world.commit(a_txt="2")

    assert first == (await world.resolve(replace(source, keep_git_dir=True), lease="b1")).pin
    assert world.files(await world.make(source, lease="b1")) == {"a.txt": "1"}
    assert second == (await world.resolve(source, lease="b2")).pin


async def test_commits_and_tags(world: World) -> None:
    """A commit without asking, an annotated tag by its commit, a tag that was moved."""
    commit = world.commit("atag", "light", a_txt="1")
    by_commit = await world.resolve(GitSource(remote=world.url, ref=commit))
    by_tag = await world.resolve(GitSource(remote=world.url, ref="atag"))

    assert by_commit.keys == by_tag.keys == (await world.resolve(GitSource(remote=world.url, ref="light"))).keys
    assert commit == by_tag.git_commit_checksum != by_tag.git_checksum
    for ref in (commit, "atag", "light"):
        assert world.files(await world.make(GitSource(remote=world.url, ref=ref))) == {"a.txt": "1"}
    world.commit("atag", "light", a_txt="2")
    for ref in ("atag", "light"):
        assert world.files(await world.make(GitSource(remote=world.url, ref=ref))) == {"a.txt": "2"}
    objects = await world.resolve(GitSource(remote=world.url, ref="atag"), return_object=True)
    assert b"tag atag" in objects.git_tag_object and objects.git_commit_object.startswith(b"tree ")


async def test_subdir(world: World) -> None:
    """Only the folder, moved to the root; a link in its path is refused."""
    (world.work / "link").symlink_to("d")
    world.commit(a_txt="1", d__e__b_txt="2")

    assert world.files(await world.make(GitSource(remote=world.url, subdir="d/e"))) == {"b.txt": "2"}
    for subdir in ("link/e", "a.txt", "nope"):
        with pytest.raises(BuildFailed, match="sub"):
            await world.make(GitSource(remote=world.url, subdir=subdir))


async def test_keep_git_dir(world: World) -> None:
    """The repository stays usable and names the remote, not our own disk."""
    commit = world.commit("light", a_txt="1")
    ref = await world.make(GitSource(remote=world.url, keep_git_dir=True))
    with world.store.mount(ref.id) as root:
        assert commit == git(Path(root), "-c", "safe.directory=*", "rev-parse", "HEAD")
        assert world.url == git(Path(root), "-c", "safe.directory=*", "remote", "get-url", "origin")
        assert git(Path(root), "-c", "safe.directory=*", "status", "--porcelain") == ""
    by_commit = await world.make(GitSource(remote=world.url, ref=commit, keep_git_dir=True))
    assert world.files(by_commit) == {"a.txt": "1"} and by_commit.id != ref.id


async def test_submodules(world: World, tmp_path: Path, port: int) -> None:
    """They are fetched too, unless told not to; one that points into our disk is refused."""
    inner = World.__new__(World)
    inner.work, inner.bare = tmp_path / "inner", tmp_path / "www" / "inner.git"
    inner.work.mkdir()
    git(inner.work, "init")
    git(tmp_path, "init", "--bare", str(inner.bare))
    inner.commit(in_txt="inner")
    git(world.work, "submodule", "add", f"http://127.0.0.1:{port}/inner.git", "sub")
    world.commit(a_txt="1")

    assert {"a.txt": "1", "sub/in.txt": "inner"}.items() <= world.files(await world.make(GitSource(remote=world.url))).items()
    assert "sub/in.txt" not in world.files(await world.make(GitSource(remote=world.url, skip_submodules=True)))
    git(world.work, "submodule", "add", str(inner.bare), "evil")
    world.commit(a_txt="2")
    with pytest.raises(BuildFailed, match="submodules"):
        await world.make(GitSource(remote=world.url))


async def test_times_of_the_commit(world: World) -> None:
    """With mtime=commit every entry has the committer's time."""
    (world.work / "link").symlink_to("a.txt")
    world.commit(a_txt="1", d__b_txt="2")
    ref = await world.make(GitSource(remote=world.url, mtime="commit"))
    with world.store.mount(ref.id) as root:
        assert {1_000_000_000.0} == times(Path(root))


async def test_bundle(world: World) -> None:
    """A bundle that git itself accepts."""
    commit = world.commit(a_txt="1")
    ref = await world.make(GitSource(remote=world.url, checkout_bundle=True))
    with world.store.mount(ref.id) as root:
        assert os.listdir(root) == ["bundle"]
        assert commit in git(world.work, "bundle", "list-heads", f"{root}/bundle")


async def test_from_a_bundle(world: World, tmp_path: Path) -> None:
    """Objects come out of the bundle, the remote is not asked; what is not in it is an error; other places are refused."""
    commit = world.commit(a_txt="1")
    bundle = tmp_path / "b.bundle"
    git(world.work, "bundle", "create", str(bundle), "refs/heads/main")
    digest = sha256_digest(bundle.read_bytes())
    Bundles.found[digest] = bundle
    source = GitSource(remote="https://nowhere.invalid/r", checksum=commit, bundle=f"docker-image+blob://host/x@{digest}")
    for ref in ("main", commit, ""):
        resolved = await world.resolve(replace(source, ref=ref))
        assert commit == resolved.pin and world.files(await world.make(replace(source, ref=ref), resolved)) == {"a.txt": "1"}
    with pytest.raises(BuildFailed):
        await world.make(replace(source, checksum="d" * 40, ref="d" * 40))
    for bad in (replace(source, checksum=""), replace(source, bundle="file:///etc/passwd"), replace(source, bundle="oci-layout+blob://x")):
        with pytest.raises(InvalidInput):
            await world.resolve(bad)


@needs_ssh_keygen
async def test_a_wanted_signature_is_looked_at_wherever_the_source_is_met(world: World, tmp_path: Path) -> None:
    """A commit that is not signed, a tag that is; objects are told only to those who asked."""
    world.commit(a="1")
    key = ssh_key(tmp_path)
    git(world.work, "-c", "gpg.format=ssh", "-c", f"user.signingkey={key.file}", "tag", "-s", "-m", "v", "v1")
    world.publish()
    wish = SignatureWish(public_key=key.public)
    plain = GitSource(remote=world.url, ref="main", signature=wish)

    for ask in (world.resolve, world.make):
        with pytest.raises(BuildFailed, match="git object is not signed"):
            await ask(plain)
    signed = replace(plain, ref="v1")
    found = await world.resolve(signed)
    assert (found.git_commit_object, found.git_tag_object) == (b"", b"")
    assert (await world.resolve(signed, return_object=True)).git_tag_object
    assert world.files(await world.make(signed, found)) == world.files(await world.make(signed)) == {"a": "1"}


async def test_errors(world: World) -> None:
    """Unknown refs, repositories and checksums are named; nothing is left claimed; passwords do not show."""
    world.commit(a_txt="1")
    with pytest.raises(BuildFailed, match="repository does not contain ref nope"):
        await world.resolve(GitSource(remote=world.url, ref="nope"))
    with pytest.raises(BuildFailed, match="expected checksum to match dddd"):
        await world.resolve(GitSource(remote=world.url, ref="main", checksum="dddd"))
    with pytest.raises(BuildFailed, match="failed to fetch remote"):
        await world.make(GitSource(remote=world.url, ref="d" * 40))
    with pytest.raises(InvalidInput, match="not allowed"):
        await world.resolve(GitSource(remote=f"file://{world.bare}"))
    secret = world.url.replace("http://", "http://user:hunter2@").replace("repo.git", "gone.git")
    with pytest.raises(BuildFailed) as caught:
        await world.resolve(GitSource(remote=secret, ref="main"))
    assert "hunter2" not in caught.value.message and b"hunter2" not in world.log.text
    assert 0 == world.store.statistics()["claimed"] == world.store.statistics()["mounts"]


async def test_many_at_once(world: World) -> None:
    """Several builds of one remote share its repository without harm."""
    for i in range(3):
        world.commit(branch=f"b{i}", a_txt=str(i))
    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(world.make(GitSource(remote=world.url, ref=f"b{i % 3}"))) for i in range(6)]
    assert [str(i % 3) for i in range(6)] == [world.files(t.result())["a.txt"] for t in made]


async def test_cancelled(world: World) -> None:
    """A cancelled fetch leaves no process and no claim."""
    world.commit(a_txt="1")
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(world.make(GitSource(remote="git://127.0.0.1:9/x", ref="d" * 40)))
        await asyncio.sleep(0)
        task.cancel()
    assert world.store.statistics()["claimed"] == 0
