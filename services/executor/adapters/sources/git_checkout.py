"""Checkouts: the tree of one commit, or a repository of its own, as a snapshot."""

import dataclasses
import os
import secrets
import shutil
import stat
from pathlib import Path

from services.executor.adapters.claims import claimed, mounted
from services.executor.adapters.sources.git_cli import GitCli
from services.executor.core.git_refs import Resolved, redact
from services.executor.core.snapshots import RecordType, Snapshot
from services.executor.core.source_ids import GitSource
from services.executor.ports import SnapshotStore
from shared.blobs.threads import Pool
from shared.errors import BuildFailed

__all__ = ["GitCheckouts"]


class GitCheckouts:
    """Makes them from the shared repository."""

    def __init__(self, store: SnapshotStore, threads: Pool) -> None:
        self._store, self._threads = store, threads

    async def make(self, source: GitSource, repository: GitCli, found: Resolved, key: str) -> Snapshot:
        description = f"git snapshot for {redact(source.remote)}#{source.ref}"
        made = await claimed(
            self._threads, self._store, self._store.prepare, None, record_type=RecordType.GIT_CHECKOUT, description=description
        )
        try:
            async with mounted(self._threads, self._store, made) as root:
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
