"""The rules of an edge as functions of what it knows of its inputs: nothing here changes anything.

Words: an input is *matched* when some key of it leads to a key of this vertex in the cache index; its content key is
*pending* while it may have one that nobody has computed. BuildKit: solver/edge.go (recalcCurrentState, desiredStateDep).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from services.solver.core.cache_key import CacheKey, KeyLink
from services.solver.core.pipe import EdgeState, Pipe
from services.solver.core.result import EdgeResult
from services.solver.core.vertex import CacheMap, InputRule

INITIAL, FAST, SLOW, COMPLETE = EdgeState


@dataclass(slots=True, eq=False)
class Input:
    """What an edge knows of one of its inputs."""

    index: int
    state: EdgeState = INITIAL
    keys: tuple[CacheKey, ...] = ()
    result: EdgeResult | None = None
    matches: dict[str, CacheKey] = field(default_factory=dict)
    pipe: Pipe | None = None
    content_pipe: Pipe | None = None
    content_done: bool = False
    content_found: bool = False
    content_key: CacheKey | None = None


@dataclass(frozen=True, slots=True)
class InputSummary:
    """All inputs at a glance; each flag needs the last cache map to be known."""

    fast_done: bool = False  # every input is at least cache-fast
    slow_done: bool = False  # every input is at least cache-slow and has no pending content key
    keyed_or_slow: bool = False  # every input is matched or at least cache-slow
    complete: bool = False  # every input has its result and its content key


def has_content_rule(cache_map: CacheMap | None, dep: Input) -> bool:
    """True when a content key exists for this input."""
    return cache_map is not None and cache_map.rule(dep.index).content is not None


def content_pending(cache_map: CacheMap, dep: Input) -> bool:
    """True when a content key of this input could still turn up."""
    if not has_content_rule(cache_map, dep):
        return False
    return dep.state == SLOW or (dep.state == COMPLETE and not dep.content_done)


def no_match_possible(cache_map: CacheMap, dep: Input) -> bool:
    """True when this input will never be matched, so that the vertex can't be cached and must run."""
    if dep.matches:
        return False
    if has_content_rule(cache_map, dep):
        return dep.content_done and not dep.content_found
    return dep.state >= SLOW


def state_bounds(cache_map: CacheMap, deps: Iterable[Input]) -> EdgeState:
    """The state that the inputs justify: what all have reached, or what an input without match makes final."""
    low, high = INITIAL, SLOW
    for dep in deps:
        pending = content_pending(cache_map, dep)
        if dep.state > low and not dep.matches and not pending:
            low = min(dep.state, SLOW)
        high = min(high, FAST if pending else dep.state)
    return max(low, high)


def summarize(cache_map: CacheMap, deps: Sequence[Input], *, map_done: bool) -> InputSummary:
    """The flags; all False before the last cache map."""
    if not map_done:
        return InputSummary()
    pending = {dep.index for dep in deps if content_pending(cache_map, dep)}
    return InputSummary(
        fast_done=all(d.state >= FAST for d in deps),
        slow_done=all(d.state >= SLOW and d.index not in pending for d in deps),
        keyed_or_slow=all(d.state >= SLOW or d.matches for d in deps),
        complete=all(d.state >= COMPLETE and d.index not in pending for d in deps),
    )


def open_keys_left(cache_map: CacheMap, deps: Iterable[Input], used: Iterable[str]) -> bool:
    """False when no key that matched some input could still become a match of the whole vertex."""
    used_ids = set(used)
    common: set[str] = set()
    for dep in deps:
        if content_pending(cache_map, dep):
            continue
        fresh = dep.matches.keys() - used_ids
        common = common & fresh if common else set(fresh)
        if not common:
            return False
    return True


def new_matches(deps: Sequence[Input], used: dict[str, None]) -> dict[str, CacheKey]:
    """Keys that every input leads to and that were not used yet. A match needs all inputs to agree on one target."""
    if not deps:
        return {}
    first, *others = deps
    return {id: key for id, key in first.matches.items() if id not in used and all(id in d.matches for d in others)}


def all_have_keys(deps: Iterable[Input], *, matching: bool) -> bool:
    """True when each input has a key (with `matching`: a match), a content key or a result."""
    return all((d.matches if matching else d.keys) or d.content_key is not None or d.result is not None for d in deps)


def links_of(dep: Input, rule: InputRule) -> tuple[KeyLink, ...]:
    """Every way to name this input now; content keys carry no selector."""
    keys = dep.result.keys if dep.result is not None else dep.keys
    links = tuple(KeyLink(key, rule.selector) for key in keys)
    if dep.result is not None and dep.content_key is not None:
        links += (KeyLink(dep.content_key),)
    return links


def _holds_back_fast(cache_map: CacheMap | None, deps: Iterable[Input], dep: Input) -> bool:
    """Matched inputs wait while an unmatched one can still progress without them."""
    if not dep.matches:
        return False
    for other in deps:
        if cache_map is None:
            return True
        content = has_content_rule(cache_map, other)
        unfinished = not other.content_done if content else other.state < COMPLETE
        if not other.matches and unfinished:
            return True
    return False


def _holds_back_slow(cache_map: CacheMap | None, deps: Iterable[Input], dep: Input) -> bool:
    """A matched input's content is not hashed while an unmatched one still may be."""
    if dep.content_done or not has_content_rule(cache_map, dep) or not dep.matches:
        return False
    return any(
        not other.matches and ((not other.content_done and has_content_rule(cache_map, other)) or other.state < SLOW) for other in deps
    )


@dataclass(frozen=True, slots=True)
class Situation:
    """What the choice of an input's desired state depends on, besides the input."""

    cache_map: CacheMap | None
    deps: Sequence[Input]
    desired: EdgeState  # of the edge itself
    summary: InputSummary
    has_keys: bool
    has_records: bool
    must_run: bool  # no cache match is possible any more (or a run is forced)


def desired_input_state(now: Situation, dep: Input) -> EdgeState:
    """How far this input should be driven next. Its present state = nothing to ask for."""
    if now.must_run:
        return COMPLETE
    if now.desired <= dep.state and dep.state != SLOW:
        return dep.state
    match dep.state:
        case EdgeState.INITIAL:
            return FAST
        case EdgeState.CACHE_FAST:
            return SLOW if _may_go_slow(now, dep) else FAST
        case EdgeState.CACHE_SLOW:
            return COMPLETE if _may_complete(now, dep) else SLOW
        case EdgeState.COMPLETE:
            return COMPLETE


def _may_go_slow(now: Situation, dep: Input) -> bool:
    ready = (now.summary.fast_done and not now.has_keys) or not dep.matches or _all_matched(now)
    return ready and now.cache_map is not None and not _holds_back_fast(now.cache_map, now.deps, dep)


def _all_matched(now: Situation) -> bool:
    return now.cache_map is not None and all_have_keys(now.deps, matching=True)


def _may_complete(now: Situation, dep: Input) -> bool:
    if now.cache_map is None:
        return False
    content = has_content_rule(now.cache_map, dep)
    if now.desired == COMPLETE:
        by_content = content and not _holds_back_fast(now.cache_map, now.deps, dep)
        if now.has_records or not (not dep.matches or now.summary.slow_done or by_content):
            return False
    elif not (content and now.desired == SLOW):
        return False
    return not dep.matches or not _holds_back_slow(now.cache_map, now.deps, dep)


def index_links_of(dep: Input, rule: InputRule) -> tuple[KeyLink, ...]:
    """Every name this input ever had; used to find an equal edge, where more names mean more meetings."""
    links = tuple(KeyLink(key, rule.selector) for key in dep.keys)
    if dep.result is not None:
        links += tuple(KeyLink(key, rule.selector) for key in dep.result.keys)
        if dep.content_key is not None:
            links += (KeyLink(dep.content_key),)
    return links
