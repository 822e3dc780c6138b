"""git sources: refs are looked up at the remote, objects are kept in one bare repository per remote, checkouts become snapshots.

After BuildKit source/git/source.go.
"""

import base64
import dataclasses
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from services.executor.adapters.agent_sockets import AgentSockets
from services.executor.adapters.sources.blob import BlobDriver
from services.executor.adapters.sources.build_memory import BuildMemory
from services.executor.adapters.sources.git_checkout import GitCheckouts
from services.executor.adapters.sources.git_cli import GitCli
from services.executor.adapters.sources.git_repository import GitRepositories
from services.executor.adapters.turns import Turns
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
from services.executor.core.signatures.git_objects import SignatureWish, check_objects
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
        self._home, self._store, self._links, self._agents = home, store, links, agents
        self._bundles = bundles
        self._turns: Turns[str] = Turns()
        self._threads = threads
        self._repositories = GitRepositories(store, threads, self._turns)
        self._checkouts = GitCheckouts(store, threads)
        self._seen: BuildMemory[Resolved] = BuildMemory()

    async def resolve(self, source: Source, request: ResolveSource, report: Reporter) -> SourceResolved:
        """A commit needs no network; anything else is asked with ls-remote. Raises BuildFailed, InvalidInput, Unsupported."""
        assert isinstance(source, GitSource)
        source = _checked(source)
        found = await self._once(source, request.scope, report)
        commit_object, tag_object = "", ""
        if request.return_object or source.signature is not None:
            found, commit_object, tag_object = await self._objects(source, found, request.scope.sessions, report)
        return SourceResolved(
            keys=(source_key(cache_key(source, found)),),
            pin=found.checksum,
            executor=self._home,
            git_ref=found.ref,
            git_checksum=found.checksum,
            git_commit_checksum=found.commit,
            git_commit_object=os.fsencode(commit_object) if request.return_object else b"",
            git_tag_object=os.fsencode(tag_object) if request.return_object else b"",
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
            if source.signature is not None:
                await self._objects(source, found, sessions, report)
        key = f"git-snapshot:{cache_key(source, found)}:{source.subdir}"
        async with self._turns.alone(key):
            snapshot = self._store.find(key)
            if snapshot is None:
                async with self._git(source, sessions, report) as git, self._repositories.open(source, git, found) as repository:
                    snapshot = await self._checkouts.make(source, repository, found, key)
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
        """The raw commit and tag objects, for source policies. Raises BuildFailed when a signature is wanted that is not there."""
        async with self._git(source, sessions, report) as git, self._repositories.open(source, git, found) as repository:
            tag = ""
            if (await repository.run("cat-file", "-t", found.checksum)).strip() == "tag":
                commit = (await repository.run("rev-parse", found.checksum + "^{commit}")).strip()
                tag = await repository.run("cat-file", "tag", found.checksum)
                found = Resolved(ref=found.ref, checksum=found.checksum, commit=commit)
            else:
                found = Resolved(ref=found.ref, checksum=found.checksum)
            commit = await repository.run("cat-file", "commit", found.commit or found.checksum)
        if source.signature is not None:
            await self._threads.do(_check_signature, source.signature, found, commit, tag)
        return found, commit, tag

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


def _check_signature(wish: SignatureWish, found: Resolved, commit: str, tag: str) -> None:
    check_objects(
        wish,
        checksum=found.checksum,
        commit=found.commit,
        commit_object=os.fsencode(commit),
        tag_object=os.fsencode(tag),
        now=int(time.time()),
    )


@contextmanager
def _written(text: str) -> Iterator[str]:
    """A file with this text, for as long as the context is open; without a name, so that nothing is left when this process is killed."""
    with tempfile.TemporaryFile("w") as file:
        file.write(text)
        file.flush()
        yield f"/proc/{os.getpid()}/fd/{file.fileno()}"


def _checked(source: GitSource) -> GitSource:
    if source.bundle:
        bundle_blob(source)
    if source.checkout_bundle and (source.keep_git_dir or source.subdir):
        raise InvalidInput("git.checkoutbundle is incompatible with git.keepgitdir and a sub directory")
    return dataclasses.replace(source, remote=check_remote(source.remote))
