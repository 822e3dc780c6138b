"""The nouns of the snapshot store: snapshot, layer, record type; and which layers a snapshot consists of."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["SKELETON", "Layer", "LayerStyle", "RecordType", "Snapshot", "SnapshotKind", "chain_of", "without_repeats"]


SKELETON = "#"
"""Ends the entry of a chain that stands for the skeleton below a composed snapshot's layers, not for a layer."""


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

    LAYER = "layer"  # those of its one parent (if any), and one of its own
    MERGE = "merge"  # those of all its parents, one after the other
    SLICE = "slice"  # parents (lower, upper): those of upper above those of lower, which upper begins with
    DIFF = "diff"  # parents (lower, upper): one layer of its own, computed by comparing the two trees
    FROZEN = "frozen"  # the directory of a mutable snapshot, kept still for as long as this one is held


class LayerStyle(StrEnum):
    """How a layer's directory is to be read."""

    OVERLAY = "overlay"  # only the difference: whiteouts are char devices 0/0, opaque directories have trusted.overlay.opaque=y
    FULL = "full"  # the whole tree; the difference is found by comparing with the tree below


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer on disk.

    `lowers` are the directories below it when it was made, topmost first (empty = it was made on scratch). With style FULL
    only the first of them counts: it is the whole tree below. `id` is the snapshot whose own layer this is (notes about the
    layer, such as its published blob, are kept under that id).
    """

    id: str
    style: LayerStyle
    path: str
    lowers: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """A record of the store as it was when asked. Times are unix seconds; `size` (bytes) is -1 until it was computed."""

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


def chain_of(id: str, look: Callable[[str], tuple[SnapshotKind, tuple[str, ...]]], skeletons: Container[str] = ()) -> tuple[str, ...]:
    """Ids of the snapshots whose own layers make up `id`, lowest first; `look` tells kind and parents of an id.

    Below those of a snapshot that is in `skeletons` stands an entry `<its id>#`.
    """
    tail: list[str] = []
    while True:
        kind, parents = look(id)
        match kind:
            case SnapshotKind.LAYER:
                tail.append(id)
                if not parents:
                    return tuple(reversed(tail))
                id = parents[0]
                continue
            case SnapshotKind.DIFF:
                head: tuple[str, ...] = (id,)
            case SnapshotKind.FROZEN:
                head = chain_of(parents[0], look, skeletons)
            case SnapshotKind.MERGE:
                head = tuple(layer for parent in parents for layer in chain_of(parent, look, skeletons))
            case SnapshotKind.SLICE:
                below = len(chain_of(parents[0], look, skeletons))
                head = chain_of(parents[1], look, skeletons)[below:]
        if id in skeletons:
            head = (id + SKELETON, *head)
        return head + tuple(reversed(tail))


def without_repeats(chain: Sequence[str]) -> tuple[str, ...]:
    """The chain with each layer only at its highest place: what lies lower is covered by it, and overlayfs refuses repeats."""
    last = {layer: place for place, layer in enumerate(chain)}
    return tuple(layer for place, layer in enumerate(chain) if last[layer] == place)
