"""What prune takes, and in which order (semantics: cache/manager.go prune, calculateKeepBytes, sortDeleteRecords of BuildKit)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from heapq import heapify, heappop, heappush

NEVER_WITHOUT_ALL = ("internal", "frontend")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One cache record of one executor: sizes in bytes, times ns (0 = never)."""

    id: str
    size: int = 0
    in_use: bool = False
    parents: tuple[str, ...] = ()
    last_used_at: int = 0
    usage_count: int = 0
    record_type: str = "regular"
    shared: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a prune was asked to respect. All three spaces 0 = no cap: take everything that may be taken."""

    all: bool = False
    keep_duration: int = 0  # ns
    reserved_space: int = 0
    max_used_space: int = 0
    min_free_space: int = 0


def keep_bytes(total: int, free: int, limits: Limits) -> int:
    """How many bytes may stay; 0 = no cap. `total` of all records that aren't shared, `free` of the disk."""
    if not (limits.max_used_space or limits.reserved_space or limits.min_free_space):
        return 0
    keep = limits.max_used_space
    shortfall = limits.min_free_space - free
    if shortfall > 0:
        keep = min(keep, total - shortfall) if keep else total - shortfall
    elif limits.min_free_space and not keep:
        keep = total
    return max(keep, limits.reserved_space)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One prune of one executor's records at time `now` (ns)."""

    limits: Limits
    free: int
    now: int
    matches: Callable[[str], bool]  # id → whether the filter means it
    refused: frozenset[str] = frozenset()  # what the executor has declined to remove


def plan(records: Sequence[Record], question: Question) -> list[str]:
    """The ids to remove, in an order in which every record comes before its parents.

    With a cap they are taken one by one, the least used and longest unused first, until the rest fits. (BuildKit ranks again after
    each; here the rank is that among all candidates, so that the plan costs n log n.)
    """
    total = sum(r.size for r in records if not r.shared)
    keep = keep_bytes(total, question.free, question.limits)
    children = _children(records)
    candidates = {r.id: r for r in records if _may_go(r, question)}
    rank = {r.id: (i, r.id) for i, r in enumerate(_ranked(list(candidates.values())))}
    free = [rank[id] for id in candidates if not children.get(id)]
    heapify(free)
    out: list[str] = []
    while free and (not keep or total > keep):
        record = candidates[heappop(free)[1]]
        out.append(record.id)
        total -= 0 if record.shared else record.size
        for parent in record.parents:
            siblings = children[parent]
            siblings.discard(record.id)
            if not siblings and parent in candidates:
                heappush(free, rank[parent])
    return out


def _children(records: Sequence[Record]) -> dict[str, set[str]]:
    children: dict[str, set[str]] = {}
    for record in records:
        for parent in record.parents:
            children.setdefault(parent, set()).add(record.id)
    return children


def _may_go(record: Record, question: Question) -> bool:
    if record.in_use or record.id in question.refused:
        return False
    if not question.limits.all and (record.record_type in NEVER_WITHOUT_ALL or record.shared):
        return False
    if question.limits.keep_duration and record.last_used_at > question.now - question.limits.keep_duration:
        return False
    return question.matches(record.id)


def _ranked(records: Sequence[Record]) -> list[Record]:
    """By the sum of two indexes, each normalised to 0–1: order of last use, and usage count; equals share an index."""
    by_time = _indexes(records, [r.last_used_at for r in records])
    by_count = _indexes(records, [r.usage_count for r in records])
    return sorted(records, key=lambda r: (by_time[r.id] + by_count[r.id], r.last_used_at, r.id))


def _indexes(records: Sequence[Record], values: Sequence[int]) -> dict[str, float]:
    """Value order as 1, 2, 3 … (0 counts as 1), divided by the largest."""
    index, highest = 1.0, 0
    out: dict[str, float] = {}
    for value, id in sorted(zip(values, (r.id for r in records), strict=True)):
        if value > highest:
            highest = value
            index += 1
        out[id] = index
    return {id: value / index for id, value in out.items()}
