"""git sources: refs are looked up at the remote, objects are kept in one bare repository per remote, checkouts become snapshots.

After BuildKit source/git/source.go.
"""

import asyncio
import base64
import dataclasses
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path

from services.executor.adapters.agent_sockets import AgentSockets
from services.executor.adapters.claims import claimed
from services.executor.adapters.sources.blob import BlobDriver
from services.executor.adapters.sources.build_memory import BuildMemory
from services.executor.adapters.sources.git_cli import GitCli
from services.executor.core.git_refs import (
    Resolved,
    bundle_blob,
    cache_key,
    check_remote,
    check_resolved,
    default_branch,
    is_commit,
    pick_ref,
    redact,
    resolve_offline,
    secret_names,
    token_scope,
)
from services.executor.core.image_keys import source_key
from services.executor.core.snapshots import RecordType, Snapshot
from services.executor.core.source_ids import GitSource, Source
from services.executor.ports import Reporter, SnapshotStore
from shared.blobs.threads import Pool
from shared.errors import BuildFailed, InvalidInput, NotFound
from shared.llb.ops import FileSecret
from shared.model import Ref
from shared.session.ports import SessionLinks
from shared.session.secrets import get_secret
from shared.wire.messages import ResolveSource, RunOp, Scope, SourceResolved


class GitDriver:
    """`home` is this executor's id, `agents` opens sockets to the client's ssh agent."""

    def __init__(
        self, *, home: str, store: SnapshotStore, links: SessionLinks, agents: AgentSockets, threads: Pool, bundles: BlobDriver
    ) -> None:
        self._home, self._store, self._links, self._agents, self._threads = home, store, links, agents, threads
        self._bundles = bundles
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}
        self._seen: BuildMemory[Resolved] = BuildMemory()

    async def resolve(self, source: Source, request: ResolveSource, report: Reporter) -> SourceResolved:
        """A commit needs no network; anything else is asked with ls-remote. Raises BuildFailed, InvalidInput, Unsupported."""
        assert isinstance(source, GitSource)
        source = _checked(source)
        found = await self._once(source, request.scope, report)
        commit_object, tag_object = "", ""
        if request.return_object:
            found, commit_object, tag_object = await self._objects(source, found, request.scope.sessions, report)
        return SourceResolved(
            keys=(source_key(cache_key(source, found)),),
            pin=found.checksum,
            executor=self._home,
            git_ref=found.ref,
            git_checksum=found.checksum,
            git_commit_checksum=found.commit,
            git_commit_object=os.fsencode(commit_object),
            git_tag_object=os.fsencode(tag_object),
        )

    async def make(self, source: Source, request: RunOp, report: Reporter) -> Ref | None:
        """The checkout, found again by its cache key."""
        assert isinstance(source, GitSource)
        source = _checked(source)
        sessions, known = request.scope.sessions, request.resolved
        if known is not None and is_commit(known.git_checksum):
            found = Resolved(ref=known.git_ref, checksum=known.git_checksum, commit=known.git_commit_checksum)
        else:
            found = await self._once(source, request.scope, report)
        key = f"git-snapshot:{cache_key(source, found)}:{source.subdir}"
        async with self._alone(key):
            snapshot = self._store.find(key)
            if snapshot is None:
                async with self._git(source, sessions, report) as git, self._repository(source, git, found) as repository:
                    snapshot = await self._checkout(source, repository, found, key)
            self._store.hold(request.scope.lease, [snapshot.id])
        return Ref(id=snapshot.id, home=self._home)

    async def _once(self, source: GitSource, scope: Scope, report: Reporter) -> Resolved:
        """What the ref was when this build first asked."""

        async def ask() -> Resolved:
            return await self._resolve(
                dataclasses.replace(source, keep_git_dir=False, checksum=source.checksum if source.bundle else ""), scope.sessions, report
            )

        offline = resolve_offline(source)
        found = offline or await self._seen.once(scope.lease, f"{source.remote}#{source.ref}#{source.bundle}", ask)
        check_resolved(source, found)
        return dataclasses.replace(found, commit="") if source.keep_git_dir else found

    async def _resolve(self, source: GitSource, sessions: Sequence[str], report: Reporter) -> Resolved:
        async with self._git(source, sessions, report) as git:
            ref = source.ref or await self._default_branch(git, source)
            try:
                output = await git.run("ls-remote", "--", git.url, ref, ref + "^{}")
            except BuildFailed as e:
                raise e.prefixed(f"failed to fetch remote {redact(source.remote)}") from None
        return pick_ref(source, ref, output)

    async def _default_branch(self, git: GitCli, source: GitSource) -> str:
        try:
            output = await git.run("ls-remote", "--symref", "--", source.remote, "HEAD")
        except BuildFailed as e:
            raise e.prefixed(f"error fetching default branch for repository {redact(source.remote)}") from None
        return default_branch(output, source.remote)

    async def _objects(self, source: GitSource, found: Resolved, sessions: Sequence[str], report: Reporter) -> tuple[Resolved, str, str]:
        """The raw commit and tag objects, for source policies."""
        async with self._git(source, sessions, report) as git, self._repository(source, git, found) as repository:
            tag = ""
            if (await repository.run("cat-file", "-t", found.checksum)).strip() == "tag":
                commit = (await repository.run("rev-parse", found.checksum + "^{commit}")).strip()
                tag = await repository.run("cat-file", "tag", found.checksum)
                found = Resolved(ref=found.ref, checksum=found.checksum, commit=commit)
            else:
                found = Resolved(ref=found.ref, checksum=found.checksum)
            return found, await repository.run("cat-file", "commit", found.commit or found.checksum), tag

    # --- credentials ------------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _git(self, source: GitSource, sessions: Sequence[str], report: Reporter) -> AsyncIterator[GitCli]:
        async with AsyncExitStack() as stack:
            socket, hosts = "", ""
            if source.ssh_socket:
                agent = FileSecret(id=source.ssh_socket, uid=os.getuid(), gid=os.getgid(), mode=0o700)
                socket = await stack.enter_async_context(self._agents.open(agent, await self._agents.find(agent, sessions)))
            if source.known_hosts:
                hosts = stack.enter_context(_written(source.known_hosts))
            bundle = ""
            if source.bundle:
                bundle = str(await stack.enter_async_context(self._bundles.file(bundle_blob(source), sessions, report)))
            yield GitCli(
                report=report,
                remote=source.remote,
                secrets=await self._credentials(source, sessions),
                ssh_socket=socket,
                known_hosts=hosts,
                bundle=bundle,
            )

    async def _credentials(self, source: GitSource, sessions: Sequence[str]) -> tuple[tuple[str, str], ...]:
        for name, token in secret_names(source, source.remote):
            try:
                value = await get_secret(self._links, sessions, name)
            except NotFound:
                continue
            if token:
                value = b"basic " + base64.b64encode(b"x-access-token:" + value)
            return (
                (f"http.{token_scope(source.remote)}.extraheader", "Authorization: " + value.decode("utf-8", "surrogateescape").strip()),
            )
        return ()

    # --- the shared repository --------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _repository(self, source: GitSource, git: GitCli, found: Resolved) -> AsyncIterator[GitCli]:
        """The bare repository of the remote, with the wanted object in it. One user at a time."""
        key = f"git-remote:{hashlib.sha256(source.remote.encode()).hexdigest()}"
        async with self._alone(key):
            snapshot = await claimed(self._threads, self._store, self._claim, key, source)
            try:
                async with self._mounted(snapshot) as path:
                    repository = dataclasses.replace(git, git_dir=path)
                    await self._prepare(repository, source, found)
                    yield repository
            finally:
                self._store.unclaim(snapshot.id)

    def _claim(self, key: str, source: GitSource) -> Snapshot:
        found = self._store.claim(key)
        if found is not None:
            return found
        made = self._store.prepare(None, description=f"shared git repo for {redact(source.remote)}")
        self._store.put(made.id, key)
        return made

    async def _prepare(self, repository: GitCli, source: GitSource, found: Resolved) -> None:
        assert repository.git_dir is not None
        sha256 = len(found.checksum) == 64
        try:
            await self._fetch(repository, source, found, sha256)
        except BuildFailed as e:
            if not _needs_fresh_repository(e.message):
                raise
            # a tag was moved, or a branch became a folder of branches: only starting over helps
            await self._threads.finish(_empty, repository.git_dir)
            await self._fetch(repository, source, found, sha256)

    async def _fetch(self, repository: GitCli, source: GitSource, found: Resolved, sha256: bool) -> None:
        assert repository.git_dir is not None
        if not (repository.git_dir / "HEAD").exists():
            await repository.run("-c", "init.defaultBranch=master", "init", "--bare", *(["--object-format=sha256"] if sha256 else []))
            await repository.run("remote", "add", "origin", redact(source.remote))
        if not await self._has(repository, found.checksum):
            with suppress(FileNotFoundError):
                (repository.git_dir / "shallow.lock").unlink()
            try:
                await self._fetch_object(repository, source, found)
            except BuildFailed as e:
                raise e.prefixed(f"failed to fetch remote {redact(source.remote)}") from None
            if not await self._has(repository, found.checksum):
                raise BuildFailed(
                    f"fetched ref {source.ref} does not match expected commit {found.checksum}, which is not in the repository"
                )
        await self._check(repository, source, found)

    async def _fetch_object(self, repository: GitCli, source: GitSource, found: Resolved) -> None:
        assert repository.git_dir is not None
        if repository.bundle:
            await repository.run("fetch", "--no-tags", "--force", "--", repository.bundle, "+refs/*:refs/bundle/*")
            return
        unshallow = ["--unshallow"] if (repository.git_dir / "shallow").exists() else []
        if is_commit(found.ref) and not source.fetch_by_commit:
            await repository.run("fetch", "--tags", *unshallow, source.remote, found.ref)
            return
        wanted = found.checksum if source.fetch_by_commit else found.ref
        target = found.ref if found.ref.startswith("refs/") else f"refs/tags/{found.ref}"
        await repository.run("fetch", "--depth=1", "--no-tags", "--force", "--", source.remote, f"{wanted}:{target}")
        if not await self._has(repository, found.checksum):  # the remote has moved on since we asked
            unshallow = ["--unshallow"] if (repository.git_dir / "shallow").exists() else []
            await repository.run("fetch", "--tags", *unshallow, source.remote, found.checksum)

    async def _has(self, repository: GitCli, object: str) -> bool:
        try:
            await dataclasses.replace(repository, report=_Silent()).run("cat-file", "-e", object + "^{commit}")
        except BuildFailed:
            return False
        return True

    async def _check(self, repository: GitCli, source: GitSource, found: Resolved) -> None:
        if not source.checksum:
            return
        actual = [(await repository.run("rev-parse", found.checksum + suffix)).strip() for suffix in ("", "^{}")]
        if not any(sha.startswith(source.checksum) for sha in actual):
            raise BuildFailed(f"expected checksum to match {source.checksum}, got {' or '.join(dict.fromkeys(actual))}")

    # --- checkouts --------------------------------------------------------------------------------------------------------------

    async def _checkout(self, source: GitSource, repository: GitCli, found: Resolved, key: str) -> Snapshot:
        description = f"git snapshot for {redact(source.remote)}#{source.ref}"
        made = await claimed(
            self._threads, self._store, self._store.prepare, None, record_type=RecordType.GIT_CHECKOUT, description=description
        )
        try:
            async with self._mounted(made) as root:
                if source.checkout_bundle:
                    await repository.run("bundle", "create", str(root / "bundle"), await self._named(repository, found))
                elif source.keep_git_dir and not source.subdir:
                    await self._with_git_dir(source, repository, found, root)
                else:
                    await self._plain(source, repository, found, root)
                if source.mtime == "commit":
                    await self._set_times(repository, found, root)
            return await self._threads.finish(self._store.commit, made.id, key=key)
        except BaseException:
            self._store.unclaim(made.id)
            raise

    async def _named(self, repository: GitCli, found: Resolved) -> str:
        """A ref to the object: bundles hold refs only."""
        if found.ref.startswith("refs/"):
            await repository.run("update-ref", "--no-deref", found.ref, found.checksum)
            return found.ref
        name = "refs/heads/main"
        await repository.run("update-ref", "--no-deref", name, found.commit or found.checksum)
        return name

    async def _plain(self, source: GitSource, repository: GitCli, found: Resolved, root: Path) -> None:
        tree = root
        if source.subdir:
            tree = root / f"checkout-{secrets.token_hex(8)}"
            tree.mkdir(0o755)
        git = dataclasses.replace(repository, work_tree=tree)
        try:
            await git.run("checkout", "--no-overlay", found.checksum, "--", ".")
        except BuildFailed as e:
            raise e.prefixed(f"failed to checkout remote {redact(source.remote)}") from None
        await self._submodules(source, git)
        if source.subdir:
            await self._threads.finish(_lift, root, tree, source.subdir)

    async def _with_git_dir(self, source: GitSource, repository: GitCli, found: Resolved, root: Path) -> None:
        """A clone of its own, made from the shared repository over the file protocol so that nothing is linked or shared."""
        name = f"refs/buildkit/{secrets.token_hex(8)}"
        await repository.run("update-ref", name, found.checksum)
        try:
            git = dataclasses.replace(repository, git_dir=root / ".git", work_tree=root, local=True)
            await git.run("-c", "init.defaultBranch=master", "init", *(["--object-format=sha256"] if len(found.checksum) == 64 else []))
            await git.run("remote", "add", "origin", f"file://{repository.git_dir}")
            target = found.ref if found.ref.startswith("refs/") else ""
            # tags that point to the object would come along, one of them under the name that it is to have
            no_tags = ["--no-tags"] if target.startswith("refs/tags/") else []
            await git.run("fetch", "-u", "--depth=1", *no_tags, "--", "origin", f"{name}:{target}" if target else name)
            try:
                await git.run("checkout", "FETCH_HEAD")
            except BuildFailed as e:
                raise e.prefixed(f"failed to checkout remote {redact(source.remote)}") from None
            await git.run("remote", "set-url", "origin", redact(source.remote))
            await git.run("reflog", "expire", "--all", "--expire=now")
            (root / ".git" / "FETCH_HEAD").unlink(missing_ok=True)
        finally:
            await repository.run("update-ref", "-d", name)
        await self._submodules(source, dataclasses.replace(git, local=False))

    async def _submodules(self, source: GitSource, git: GitCli) -> None:
        assert git.work_tree is not None
        if source.skip_submodules or not (git.work_tree / ".gitmodules").exists():
            return
        try:
            await git.run("submodule", "update", "--init", "--recursive", "--depth=1")
        except BuildFailed as e:
            raise e.prefixed(f"failed to update submodules for {redact(source.remote)}") from None

    async def _set_times(self, repository: GitCli, found: Resolved, root: Path) -> None:
        seconds = int((await repository.run("log", "-1", "--format=%ct", found.checksum + "^{commit}")).strip())
        await self._threads.finish(_touch_all, root, seconds * 1_000_000_000)

    # --- plumbing ---------------------------------------------------------------------------------------------------------------

    @asynccontextmanager
    async def _mounted(self, snapshot: Snapshot) -> AsyncIterator[Path]:
        mount = self._store.mount(snapshot.id, writable=True)
        path = await self._threads.take(lambda _: mount.__exit__(None, None, None), mount.__enter__)
        try:
            yield Path(path)
        finally:
            await self._threads.finish(mount.__exit__, None, None, None)

    @asynccontextmanager
    async def _alone(self, key: str) -> AsyncIterator[None]:
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = (lock, users - 1)


@contextmanager
def _written(text: str) -> Iterator[str]:
    """A file with this text, for as long as the context is open."""
    with tempfile.NamedTemporaryFile("w", prefix="known-hosts-") as file:
        file.write(text)
        file.flush()
        yield file.name


class _Silent:
    """Questions that may be answered with no need no log."""

    def status(self, id: str, *, current: int = 0, total: int = 0, name: str = "", done: bool = False) -> None:
        return

    def log(self, stream: int, data: bytes) -> None:
        return


def _checked(source: GitSource) -> GitSource:
    if source.bundle:
        bundle_blob(source)
    if source.checkout_bundle and (source.keep_git_dir or source.subdir):
        raise InvalidInput("git.checkoutbundle is incompatible with git.keepgitdir and a sub directory")
    return dataclasses.replace(source, remote=check_remote(source.remote))


def _needs_fresh_repository(text: str) -> bool:
    if "rejected" in text and "(would clobber existing tag)" in text:
        return True
    return "some local refs could not be updated;" in text and ("(unable to update local ref)" in text or "refname conflict" in text)


def _empty(directory: Path) -> None:
    for entry in directory.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _lift(root: Path, tree: Path, subdir: str) -> None:
    """Move what is in `subdir` up to the root and drop the rest. Raises BuildFailed when a part of the path is no directory."""
    at = tree
    for part in subdir.split("/"):
        if part in ("", "."):
            continue
        at = at / part
        try:
            is_directory = stat.S_ISDIR(at.lstat().st_mode)
        except FileNotFoundError:
            raise BuildFailed(f"invalid subdir {subdir}: no such file or directory") from None
        if not is_directory:
            raise BuildFailed(f'git subpath "{subdir}" contains non-directory "{at.relative_to(tree)}"')
    for entry in list(at.iterdir()):
        entry.rename(root / entry.name)
    shutil.rmtree(tree)


def _touch_all(root: Path, moment: int) -> None:
    """Every entry's time, directories after what they hold."""
    for folder, _, files in os.walk(root, topdown=False):
        for name in files:
            os.utime(os.path.join(folder, name), ns=(moment, moment), follow_symlinks=False)
        for entry in os.scandir(folder):
            if entry.is_symlink():
                os.utime(entry.path, ns=(moment, moment), follow_symlinks=False)
        os.utime(folder, ns=(moment, moment))
