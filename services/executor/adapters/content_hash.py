"""Content hashes of snapshots, remembered: in memory for the last few snapshots, on disk for as long as they live."""

import contextlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from services.executor.adapters.content_hash_record import EMPTY_DIGEST
from services.executor.adapters.content_hash_select import checksum, join_digests
from services.executor.adapters.content_hash_store import dump_tree, load_tree
from services.executor.adapters.content_hash_tree import Tree, clean, scanned_tree
from services.executor.core.selection import Selection
from shared.errors import NotFound
from shared.model import Digest, require_safe_id

Mount = Callable[[], AbstractContextManager[str]]


class ContentHashes:
    """Checksums of immutable snapshots. Every method blocks and is thread-safe; equal snapshots are hashed by one thread at a time.

    `directory` keeps one file per hashed snapshot (a cache: anything unreadable in it is computed again). `save` writes what is new there:
    from time to time and at the end, since a tree of 20,000 files takes longer to write than one changed file takes to hash.
    """

    def __init__(self, directory: Path, *, keep: int = 20) -> None:
        self._directory = directory
        self._keep = keep
        self._trees: OrderedDict[str, _Entry] = OrderedDict()
        self._aliases: dict[str, str] = {}
        self._lock = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True)

    def hash(self, snapshot: str, mount: Mount, selections: Sequence[Selection]) -> Digest:
        """The content digest of an input: its selections' checksums joined; no selection means all of it.

        `mount` is called only when something has to be read. Raises NotFound
        (`failed to calculate checksum of ref <id>: "<path>": not found`), InvalidInput, OSError.
        """
        with self._tree(self._aliases.get(snapshot, snapshot), mount) as tree:
            try:
                return Digest(join_digests([checksum(tree, s) for s in selections or (Selection(),)]))
            except NotFound as e:
                raise e.prefixed(f"failed to calculate checksum of ref {snapshot}") from None

    def adopt(self, snapshot: str, tree: Tree) -> None:
        """Take over a tree that was made while the snapshot was filled (local sources); replaces what is known."""
        require_safe_id(snapshot, "snapshot id")
        tree.dirty = True
        with self._lock:
            self._trees[snapshot] = _Entry(tree)
            self._trees.move_to_end(snapshot)
            self._trim()

    def save(self) -> None:
        """Write the trees that know more than their files."""
        with self._lock:
            known = list(self._trees.items())
        for snapshot, entry in known:
            if entry.tree.dirty:
                with entry.lock:
                    self._save(snapshot, entry)

    def alias(self, snapshot: str, target: str) -> None:
        """From now on `snapshot` is another name of `target` (a frozen view of a directory that is updated in place)."""
        require_safe_id(snapshot, "snapshot id")
        with self._lock:
            self._aliases = {a: t for a, t in self._aliases.items() if t != target}
            self._aliases[snapshot] = target

    def take(self, snapshot: str) -> Tree | None:
        """The remembered tree, to be changed and adopted again under the same or another id; None if there is none. Forgets it here."""
        entry = self._entry(snapshot, load_only=True)
        self.forget(snapshot)
        return entry.tree if entry is not None else None

    def forget(self, snapshot: str) -> None:
        """Drop what is known of a snapshot (it was removed, or is about to change). Idempotent."""
        with self._lock:
            if self._aliases.pop(snapshot, None) is not None:
                return
            self._trees.pop(snapshot, None)
            with contextlib.suppress(FileNotFoundError):
                self._path(snapshot).unlink()

    def statistics(self) -> dict[str, int]:
        """How many trees are in memory."""
        return {"trees": len(self._trees)}

    @contextmanager
    def _tree(self, snapshot: str, mount: Mount) -> Iterator[Tree]:
        entry = self._entry(snapshot)
        assert entry is not None
        with entry.lock, contextlib.ExitStack() as stack:
            mounted: list[str] = []

            def root() -> str:
                if not mounted:
                    mounted.append(stack.enter_context(mount()).rstrip("/"))
                return mounted[0]

            entry.tree.root = root
            try:
                yield entry.tree
            finally:
                entry.tree.root = _unmounted

    def _entry(self, snapshot: str, *, load_only: bool = False) -> "_Entry | None":
        require_safe_id(snapshot, "snapshot id")
        with self._lock:
            entry = self._trees.get(snapshot)
            if entry is None:
                loaded = self._load(snapshot)
                if loaded is None and load_only:
                    return None
                entry = self._trees[snapshot] = _Entry(loaded or scanned_tree(_unmounted))
            self._trees.move_to_end(snapshot)
            self._trim()
            return entry

    def _trim(self) -> None:
        """Those not asked for longest go to their files; one that is just being asked is only a loss of time."""
        while len(self._trees) > self._keep:
            snapshot, entry = self._trees.popitem(last=False)
            if entry.tree.dirty and entry.lock.acquire(blocking=False):
                self._write(snapshot, dump_tree(entry.tree))
                entry.lock.release()

    def _load(self, snapshot: str) -> Tree | None:
        try:
            return load_tree(self._path(snapshot).read_bytes(), _unmounted)
        except (OSError, ValueError):
            return None

    def _save(self, snapshot: str, entry: "_Entry") -> None:
        data = dump_tree(entry.tree)
        entry.tree.dirty = False
        with self._lock:
            if self._trees.get(snapshot) is entry:  # else forgotten meanwhile: what it says is no longer true
                self._write(snapshot, data)

    def _write(self, snapshot: str, data: bytes) -> None:
        path = self._path(snapshot)
        temporary = path.with_name(f"{path.name}.{threading.get_ident()}.tmp")
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()

    def _path(self, snapshot: str) -> Path:
        return self._directory / snapshot


class _Entry:
    __slots__ = ("lock", "tree")

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.lock = threading.Lock()


def hash_of_scratch(selections: Sequence[Selection]) -> Digest:
    """The content digest of an empty input: only `/` can be had from it. Raises NotFound `<path>: no such file or directory`."""
    for s in selections:
        if clean(s.path):
            raise NotFound(f"{clean(s.path)}: no such file or directory")
    return Digest(join_digests([EMPTY_DIGEST] * max(1, len(selections))))


def _unmounted() -> str:
    raise AssertionError("a checksum tree was used outside of its mount")
