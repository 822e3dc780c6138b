"""Directories of the client. The last state is kept per shared key, so that an unchanged context sends nothing but its file list.

After BuildKit source/local/source.go; content hashes stay valid for what did not change.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from services.executor.adapters.claims import claimed
from services.executor.adapters.content_hash import ContentHashes
from services.executor.adapters.content_hash_tree import Tree, received_tree
from services.executor.core.image_keys import source_key
from services.executor.core.snapshots import RecordType, Snapshot
from services.executor.core.source_ids import LocalSource, Source
from services.executor.ports import Reporter, SnapshotStore
from shared.blobs.threads import Pool
from shared.bus.ports import KeyValue
from shared.errors import BuildmeshError, InvalidInput, NotFound, SessionGone, Unsupported
from shared.fsutil import Differ, PatternMatcher, Stat
from shared.fsutil.receiver import METADATA_FILE
from shared.model import Ref, sha256_digest
from shared.oci import go_json
from shared.session.filesync import LocalRequest, Received, receive_local
from shared.session.ports import SessionLinks
from shared.wire.messages import ResolveSource, RunOp, Scope, SourceResolved

_REPORT_EACH = 0.1  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A local source with its session attribute taken apart: `prefix:id` makes the name `prefix-name`. `identity`: who asks."""

    source: LocalSource
    name: str
    sessions: tuple[str, ...]
    identity: str


class LocalDriver:
    """`home` is this executor's id; `places` remembers who has which directory, None where there is only one executor."""

    def __init__(
        self, *, home: str, store: SnapshotStore, hashes: ContentHashes, links: SessionLinks, threads: Pool, places: KeyValue | None
    ) -> None:
        self._home, self._store, self._hashes, self._links, self._threads = home, store, hashes, links, threads
        self._places = places

    async def resolve(self, source: Source, request: ResolveSource, report: Reporter) -> SourceResolved:
        """The key is random to everybody but this session: what a directory holds is known only by looking."""
        assert isinstance(source, LocalSource)
        asked = _asked(source, request.scope)
        value: dict[str, object] = {
            "SessionID": asked.sessions[0],
            "IncludePatterns": list(source.include) or None,
            "ExcludePatterns": list(source.exclude) or None,
            "FollowPaths": list(source.follow) or None,
        }
        if source.metadata_only:
            value["MetadataTransfer"] = True
            if source.metadata_exceptions:
                value["MetadataExceptions"] = list(source.metadata_exceptions)
        digest = sha256_digest(go_json(value))
        holder = await self._holder(asked)
        return SourceResolved(keys=(source_key(f"session:{asked.name}:{digest}"),), pin=digest, executor=holder)

    async def _holder(self, asked: _Asked) -> str:
        """The executor that has the directory as it was last, to which only changes need to be sent; else this one."""
        if self._places is None:
            return self._home
        try:
            found = await self._places.get(await self._place(asked, asked.sessions[0]))
        except BuildmeshError:  # the session or the bus is away: no reason to fail here
            return self._home
        return found.value.decode(errors="replace") if found is not None else self._home

    async def _place(self, asked: _Asked, session: str) -> str:
        return sha256_digest((await self._key(asked, session)).encode()).partition(":")[2]

    async def _key(self, asked: _Asked, session: str) -> str:
        """What the directory is kept under from build to build: nobody builds with files that another identity has sent."""
        description = await self._links.describe(session)
        source = asked.source
        return (
            f"local:{asked.identity!r}:{asked.name}:{source.shared_key_hint}:{description.shared_key}{':metadata' * source.metadata_only}"
        )

    async def _remember(self, asked: _Asked, session: str) -> None:
        if self._places is not None:
            with suppress(BuildmeshError):  # then the next build begins anew
                await self._places.put(await self._place(asked, session), self._home.encode())

    async def make(self, source: Source, request: RunOp, report: Reporter) -> Ref | None:
        """The directory as it is now. Raises NotFound (`no access allowed to dir …`), SessionGone, Unsupported, InvalidInput."""
        assert isinstance(source, LocalSource)
        asked = _asked(source, request.scope)
        last: BuildmeshError = SessionGone("no active sessions")
        for session in asked.sessions:
            try:
                return await self._from(asked, session, request.scope.lease, report)
            except (NotFound, SessionGone, Unsupported) as e:
                last = e
        raise last

    async def _from(self, asked: _Asked, session: str, lease: str, report: Reporter) -> Ref:
        snapshot = await claimed(self._threads, self._store, self._claim, await self._key(asked, session), asked.name)
        try:
            tree = self._hashes.take(snapshot.id) or received_tree(lambda: "")
            with self._store.mount(snapshot.id, writable=True) as root:
                received = await self._receive(asked, session, root, report)
                await self._threads.finish(_update, tree, received, root, asked.source.metadata_only)
            await self._threads.finish(self._hashes.adopt, snapshot.id, tree)
            frozen = await self._threads.finish(self._store.freeze, snapshot.id, lease=lease)
        except BaseException:
            # The directory may be half old, half new: the next transfer mends it, but no hash of it may be believed.
            self._hashes.forget(snapshot.id)
            self._store.unclaim(snapshot.id)
            raise
        self._hashes.alias(frozen.id, snapshot.id)
        await self._remember(asked, session)
        return Ref(id=frozen.id, home=self._home)

    def _claim(self, key: str, name: str) -> Snapshot:
        found = self._store.claim(key)
        if found is not None:
            return found
        made = self._store.prepare(None, record_type=RecordType.LOCAL_SOURCE, description=f"local source for {name}")
        self._store.put(made.id, key)
        return made

    async def _receive(self, asked: _Asked, session: str, root: str, report: Reporter) -> Received:
        source = asked.source
        progress = _Progress(report, f"transferring {source.name}:")
        received = await receive_local(
            self._links,
            session,
            LocalRequest(name=source.name, include=source.include, exclude=source.exclude, follow=source.follow),
            root,
            threads=self._threads.executor,
            differ=Differ.NONE if source.differ == "none" else Differ.METADATA,
            metadata_only=_metadata_only(source),
            on_progress=progress.update,
        )
        progress.finish(received.bytes_received)
        return received


def _asked(source: LocalSource, scope: Scope) -> _Asked:
    """Raises InvalidInput when nobody could be asked."""
    name, wanted, sessions = source.name, source.session, list(scope.sessions)
    if wanted:
        prefix, colon, rest = wanted.partition(":")
        if colon:
            name, wanted = f"{prefix}-{name}", rest
        sessions = [wanted, *(s for s in sessions if s != wanted)]
    if not sessions:
        raise InvalidInput("could not access local files without session")
    return _Asked(source=source, name=name, sessions=tuple(sessions), identity=scope.identity)


def _metadata_only(source: LocalSource) -> Callable[[Stat], bool] | None:
    if not source.metadata_only:
        return None
    try:
        wanted = PatternMatcher(source.metadata_exceptions)
    except ValueError as e:
        raise InvalidInput(f"local.metadatatransferexclude: {e}") from None
    return lambda stat: not wanted.matches(stat.path)


def _update(tree: Tree, received: Received, root: str, metadata_only: bool) -> None:
    """Tell the checksum tree what changed; all other digests stay."""
    tree.root = lambda: root
    for path in received.removed:
        tree.mark_removed("/" + path)
    for path in received.changed:
        tree.mark_changed("/" + path)
    if metadata_only:
        tree.mark_changed("/" + METADATA_FILE)


class _Progress:
    """Bytes received so far, told ten times a second."""

    def __init__(self, report: Reporter, id: str) -> None:
        self._report, self._id = report, id
        self._next = 0.0
        report.status(id, name="transferring")

    def update(self, received: int) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _REPORT_EACH
            self._report.status(self._id, name="transferring", current=received)

    def finish(self, received: int) -> None:
        self._report.status(self._id, name="transferring", current=received, done=True)
