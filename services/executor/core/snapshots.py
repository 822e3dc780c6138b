"""The nouns of the snapshot store: snapshot, layer, record type."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Layer", "LayerStyle", "RecordType", "Snapshot", "SnapshotKind"]


class RecordType(StrEnum):
    """What a snapshot is kept for; the strings are those which `du` shows (BuildKit client/diskusage.go)."""

    REGULAR = "regular"
    INTERNAL = "internal"
    FRONTEND = "frontend"
    LOCAL_SOURCE = "source.local"
    GIT_CHECKOUT = "source.git.checkout"
    CACHE_MOUNT = "exec.cachemount"


class SnapshotKind(StrEnum):
    """How a snapshot's layers come about."""

    LAYER = "layer"  # those of its one parent, and one of its own
    MERGE = "merge"  # those of all its parents, one after the other
    SLICE = "slice"  # those of its upper parent which its lower parent has not (a diff of a chain and its own beginning)
    FROZEN = "frozen"  # the directory of a mutable snapshot, kept still for as long as this one is held


class LayerStyle(StrEnum):
    """How a layer's directory is to be read."""

    OVERLAY = "overlay"  # only the difference: whiteouts are char devices 0/0, opaque directories have trusted.overlay.opaque=y
    FULL = "full"  # the whole tree; the difference is found by comparing with the tree below


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer on disk.

    `lowers` are the directories below it when it was made, topmost first (empty = it was made on scratch). With style FULL
    only the first of them counts: it is the whole tree below.
    """

    id: str
    style: LayerStyle
    path: str
    lowers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A record of the store as it was when asked. Times are unix seconds; `size` is -1 until it was computed."""

    id: str
    kind: SnapshotKind
    parents: tuple[str, ...]
    mutable: bool
    record_type: RecordType
    description: str
    size: int
    created: float
    last_used: float | None
    usage_count: int
    in_use: bool
    keys: tuple[str, ...]
