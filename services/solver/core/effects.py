"""What to do about it: the closed union that the scheduler's `handle` returns, in order.

Effects with a `call` are answered later by one Answered or Failed; all others are done and forgotten.
"""

from dataclasses import dataclass
from typing import Any

from services.solver.core.cache_key import CacheKey
from services.solver.core.questions import Question
from services.solver.core.vertex import CacheRecord, ContentSelector, Digest, Vertex


@dataclass(frozen=True, slots=True, kw_only=True)
class ComputeCacheMap:
    """Make cache map number `index` of this vertex. Answer: CacheMap."""

    call: int
    vertex: Vertex
    index: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HashContent:
    """Digest what `selectors` select of input `input`, whose result is `value`. Answer: digest, or "" for «no content key»."""

    call: int
    vertex: Vertex
    input: int
    selectors: tuple[ContentSelector, ...]
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """Load a stored result. Answer: its value."""

    call: int
    vertex: Vertex
    record: CacheRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Run the op on these input values. Answer: tuple of output values. `keys`: what the result will be stored under."""

    call: int
    vertex: Vertex
    inputs: tuple[Any, ...]
    keys: tuple[CacheKey, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AskIndex:
    """Ask the cache index. Answer: the Reply that fits the question; never Failed."""

    call: int
    question: Question


@dataclass(frozen=True, slots=True, kw_only=True)
class SaveResult:
    """Store the value under these keys, linking each from its inputs. Answer: tuple of the keys' ids; never Failed."""

    call: int
    vertex: Vertex
    keys: tuple[CacheKey, ...]
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelCall:
    """Nobody wants this call's answer any more; it is still to be answered (by Failed with canceled, or Answered)."""

    call: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Announce:
    """From now on `job` hears of this vertex; what was said of it before is to be replayed."""

    job: str
    vertex: Vertex


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Work on a vertex began (`completed` False) or ended."""

    vertex: Vertex
    completed: bool
    cached: bool = False
    error: BaseException | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The end of a Build request. `output` is the active output that gave the result (after merges)."""

    request: str
    value: Any = None
    keys: tuple[CacheKey, ...] = ()
    error: BaseException | None = None
    output: tuple[Digest, int] = ("", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Nothing in this solver holds this result any more."""

    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgotten:
    """No job holds this vertex any more; what was kept for its replay can go."""

    digest: Digest


Call = ComputeCacheMap | HashContent | LoadResult | Run | AskIndex | SaveResult
Effect = Call | CancelCall | Announce | Progress | Finished | Release | Forgotten
