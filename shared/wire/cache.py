"""Messages to the cachestore: the key graph, records, usage and prune.

A key is a node: a root (digest, output) or a combination of other keys by (input index, selector). A question carries the nodes it
speaks of as one flat list; nodes that the store has named before carry its `id`, so that their own inputs need not be repeated.
Semantics: solver/cachemanager.go.
"""

from dataclasses import dataclass

from shared.model import CacheEntry, Digest, Layer, Ref
from shared.wire.execute import UsageRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyDep:
    """A key that an input may have: index into the message's `nodes`, with the selector it is linked by."""

    node: int
    selector: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyNode:
    """`id` "" = not known to the store yet. `deps[i]` = alternative keys of input i (empty tuple of deps = root key)."""

    digest: str
    output: int
    id: str = ""
    deps: tuple[tuple[KeyDep, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheQuery:
    """Which keys of (digest, output) follow from these alternative keys of input `input`? With no deps: the root key. Answer: CacheKeys."""

    nodes: tuple[KeyNode, ...]
    deps: tuple[KeyDep, ...]
    input: int
    digest: str
    output: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundKey:
    """A key of the store. `dep` = index in the question's `deps` it was found through (-1 = root)."""

    id: str
    digest: str
    output: int
    dep: int = -1
    has_records: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheKeys:
    keys: tuple[FoundKey, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRecordsOf:
    """The results stored under a key. Answer: CacheRecords."""

    nodes: tuple[KeyNode, ...]
    key: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRecord:
    """A stored result; `ref` None = scratch. Higher created_at is better, then lower priority."""

    id: str
    ref: Ref | None
    created_at: int = 0
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRecords:
    records: tuple[CacheRecord, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSave:
    """Store a result under a key, creating the links that lead to it. Answer: CacheSaved. Keys with a `random:` root are not persisted.

    `identity`: on whose behalf it was made ("" = unknown).
    """

    nodes: tuple[KeyNode, ...]
    key: int
    ref: Ref | None
    created_at: int
    vertex: Digest
    identity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheSaved:
    """`key_ids[i]` = the store's id for the question's `nodes[i]`."""

    key_ids: tuple[str, ...]
    record: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRun:
    """«I am about to run the vertex with these keys»: one in the fleet shall. Answer: RunClaimed.

    `keys` index `nodes`: alternatives for a vertex without inputs, else one. `run` is the id of this run, `solver` who would do it.
    `gone`: a run that did not answer; its claim ends. `fresh`: stored results may not be used; nor when not `single` (several outputs).
    """

    nodes: tuple[KeyNode, ...]
    keys: tuple[int, ...]
    solver: str
    run: str
    gone: str = ""
    fresh: bool = False
    single: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class RunClaimed:
    """A stored result (`found`), or who runs it: the asker itself when `run` is what it proposed.

    `key_ids`: under which ids the result is to be stored, as `keys` of the order. `new_key`: nothing hangs on the first of them yet.
    """

    solver: str = ""
    run: str = ""
    found: bool = False
    ref: Ref | None = None
    key_ids: tuple[str, ...] = ()
    new_key: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseRuns:
    """These runs have ended; their results, if any, were saved before. Answer: Done.

    `solver`: who says so, and that it lives; claims of a solver that says nothing for 20 s end.
    """

    runs: tuple[str, ...]
    solver: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheLink:
    """Make the (slow) key `to` lead to the same target as `key`, so that the next build hits by the fast one. Answer: CacheSaved."""

    nodes: tuple[KeyNode, ...]
    key: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheChain:
    """Everything that these keys follow from, for a cache export. Answer: CacheChainFound."""

    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainNode:
    """A key: `entry` without layers, its inputs before it in the list; its best result if it has one."""

    id: str
    entry: CacheEntry
    has_record: bool = False
    ref: Ref | None = None
    created_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheChainFound:
    nodes: tuple[ChainNode, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheDrop:
    """These refs can't be had any more: forget their records. Answer: Done."""

    ref_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefsPublished:
    """The layers of these refs are in the blob store: they outlive their homes. Answer: Done."""

    refs: tuple[Ref, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersOf:
    """What was published of a ref. Answer: LayersFound."""

    ref_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayersFound:
    """Base first; empty when nothing is known."""

    layers: tuple[Layer, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskUsage:
    """Answer: UsageReport. `filters` as in reference 06 §5.2; `age_limit` ns."""

    filters: tuple[str, ...] = ()
    age_limit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prune:
    """Answer: Pruned, preceded by PrunedBatch progress frames. Durations ns, spaces bytes."""

    filters: tuple[str, ...] = ()
    all: bool = False
    keep_duration: int = 0
    reserved_space: int = 0
    max_used_space: int = 0
    min_free_space: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunedBatch:
    records: tuple[UsageRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    freed: int = 0
