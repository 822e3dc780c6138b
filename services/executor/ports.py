"""What the executor's core and its adapters ask of the world: snapshots, runtime, session values.

Snapshot calls are synchronous and thread-safe. `get`, `find`, `hold` and `holders` touch memory only and may be called on the
event loop; every other call makes system calls and belongs in a pool thread (`shared.run`/`pools`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from services.executor.core.snapshots import Layer, LayerStyle, RecordType, Snapshot
from services.executor.core.source_ids import Source
from shared.model import Ref
from shared.wire.messages import ResolveSource, RunOp, SourceResolved

__all__ = ["Composed", "Keys", "Leases", "Notes", "Reporter", "SnapshotStore", "Snapshots", "SourceDriver"]


class Snapshots(Protocol):
    """The tree of snapshots: each is a list of layers over an optional parent."""

    @property
    def style(self) -> LayerStyle:
        """How layers lie on this disk."""

    def prepare(self, parent: str | None, *, record_type: RecordType = ..., description: str = "", lease: str = "") -> Snapshot:
        """A new empty mutable snapshot on `parent` (None = scratch), held by `lease` if one is named.

        Not visible to `find` until it is given a key. Errors: RefLost (parent is gone), an OSError of the disk.
        """

    def rebase(self, id: str, parent: str) -> None:
        """Lay a mutable snapshot that was prepared on scratch, and isn't mounted, on `parent`. RefLost, ValueError (full trees)."""

    def commit(self, id: str, *, key: str = "", record_type: RecordType | None = None, description: str = "") -> Snapshot:
        """Make a mutable snapshot immutable under the same id; `key` (such as `chain:<chain id>`) is bound in the same step.

        Durable before it returns, and idempotent. If another immutable snapshot has the key already, that one is returned and
        the mutable one is removed (its leases move over): so two who unpack the same layer end with one.
        """

    def freeze(self, id: str, *, lease: str) -> Snapshot:
        """An immutable snapshot over the *same directory* as the mutable `id`, which stays claimed for as long as this is in use.

        For directories that are updated in place by the next build (local contexts, git mirrors): nothing is copied. A later
        `claim` of the mutable one, when nobody holds the frozen one any more, makes the frozen id lost.
        """

    def mount(self, id: str, *, writable: bool = False) -> AbstractContextManager[str]:
        """The directory where the tree of `id` can be seen while the context is open; never join untrusted paths to it by text.

        Users of one mutable snapshot share one mount. `writable` needs a mutable snapshot, else ValueError. Errors: RefLost.
        """

    def layers(self, id: str) -> tuple[Layer, ...]:
        """The layers, lowest first: each one's own diff and what lies below it *as it was made*.

        Of a mutable snapshot the last is its own, writable while it is not mounted (overlay style: whiteouts by hand).
        """

    def own_layer(self, id: str) -> Layer:
        """The last of them, of a mutable snapshot or one that is no composition."""

    def remove(self, ids: Iterable[str]) -> tuple[Snapshot, ...]:
        """Remove those which no lease, child or mount holds (the rest is left alone); returns what was removed, with sizes."""

    def sizes(self, ids: list[str] | None = None) -> dict[str, int]:
        """Bytes of each snapshot's own layer on disk (None = of all), computed once and remembered; walks directories."""


class Composed(Protocol):
    """Snapshots made of others (MergeOp, DiffOp)."""

    def merge(self, ids: Sequence[str], *, description: str = "", lease: str = "") -> Snapshot:
        """All layers of `ids` in order, nothing copied where overlayfs is used. At least one id; one id is returned as it is."""

    def diff(self, lower: str | None, upper: str, *, description: str = "", lease: str = "") -> Snapshot:
        """What changed from `lower` to `upper`; deletions stay visible when the result is merged onto something.

        Where `upper` begins with all layers of `lower` nothing is read: the layers above are the answer.
        """


class Keys(Protocol):
    """Snapshots found again by name: image chains, shared mutable directories, cache mounts."""

    def get(self, id: str) -> Snapshot:
        """The record of an id. Errors: RefLost."""

    def find(self, key: str) -> Snapshot | None:
        """The immutable snapshot committed under `key`; counts as a use."""

    def claim(self, key: str, *, lease: str = "") -> Snapshot | None:
        """A mutable snapshot that carries `key` and is claimed by nobody, now claimed; None if there is none."""

    def carrying(self, key: str) -> tuple[str, ...]:
        """The mutable snapshots that carry `key` (claimed or not)."""

    def unbind(self, key: str) -> None:
        """Take `key`, and keys that begin with `key:`, off all mutable snapshots; those that nobody uses are removed."""

    def put(self, id: str, key: str) -> None:
        """Bind `key` to a snapshot (several may carry the same key). Durable."""

    def drop(self, id: str) -> None:
        """Take all keys off a claimed mutable snapshot: given back, it is removed."""

    def unclaim(self, id: str) -> None:
        """Give a claimed (or just prepared) mutable snapshot back; others may claim it. Without a key it is removed."""


class Notes(Protocol):
    """Small facts kept with a snapshot (its layer's blob, an etag, a checksum tree's digest), gone when it is gone."""

    def note(self, id: str, name: str) -> bytes | None:
        """What was noted under `name`, or None."""

    def set_note(self, id: str, name: str, value: bytes) -> None:
        """Note; replaces. Errors: RefLost."""


class Leases(Protocol):
    """Who holds what. Held snapshots (and what lies below them) are never removed."""

    def hold(self, lease: str, ids: Collection[str]) -> None:
        """Let `lease` hold snapshots; renews it. Errors: RefLost, naming the first id that is gone (then nothing is held)."""

    def renew(self, leases: Collection[str]) -> None:
        """Push back the expiry of those leases which exist here."""

    def release(self, lease: str) -> None:
        """Forget a lease. Unknown leases are fine."""


class SnapshotStore(Snapshots, Composed, Keys, Notes, Leases, Protocol):
    """All of it: what adapters/snapshots.py implements."""


class Reporter(Protocol):
    """Progress of one task, batched by whoever implements it. Callable from any thread; never blocks."""

    def status(self, id: str, *, current: int = 0, total: int = 0, name: str = "", done: bool = False) -> None:
        """State of the status `id` of the task's vertex; the first call starts it, `done` completes it."""

    def log(self, stream: int, data: bytes) -> None:
        """Output: 1 = stdout, 2 = stderr."""


class SourceDriver(Protocol):
    """One kind of source."""

    async def resolve(self, source: Source, request: ResolveSource, report: Reporter) -> SourceResolved:
        """Cache keys and pins, with as little transfer as that needs."""

    async def make(self, source: Source, request: RunOp, report: Reporter) -> Ref | None:
        """The tree, held under the request's lease; None = scratch. An image's Ref may be lazy (layers only)."""
