"""The shared git repositories: a bare one for each remote, kept from build to build, with whatever objects builds have wanted."""

import dataclasses
import hashlib
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from services.executor.adapters.claims import claimed, mounted
from services.executor.adapters.sources.git_cli import GitCli
from services.executor.adapters.turns import Turns
from services.executor.core.git_refs import Resolved, is_commit, redact
from services.executor.core.snapshots import Snapshot
from services.executor.core.source_ids import GitSource
from services.executor.ports import SnapshotStore
from shared.blobs.threads import Pool
from shared.errors import BuildFailed

__all__ = ["GitRepositories"]


class GitRepositories:
    """Each is a mutable snapshot, which one fetches into at a time."""

    def __init__(self, store: SnapshotStore, threads: Pool, turns: Turns[str]) -> None:
        self._store, self._threads, self._turns = store, threads, turns

    @asynccontextmanager
    async def open(self, source: GitSource, git: GitCli, found: Resolved) -> AsyncIterator[GitCli]:
        """The bare repository of the remote, with the wanted object in it. One user at a time."""
        key = f"git-remote:{hashlib.sha256(source.remote.encode()).hexdigest()}"
        async with self._turns.alone(key):
            snapshot = await claimed(self._threads, self._store, self._claim, key, source)
            try:
                async with mounted(self._threads, self._store, snapshot) as path:
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


class _Silent:
    """Questions that may be answered with no need no log."""

    def status(self, id: str, *, current: int = 0, total: int = 0, name: str = "", done: bool = False) -> None:
        return

    def log(self, stream: int, data: bytes) -> None:
        return


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
