"""The rules of an edge, as the tables of BuildKit's edge.go have them: what a state needs, what is asked of an input next."""

import pytest

from services.solver.core.cache_key import content_key, root_key
from services.solver.core.edge_rules import (
    Input,
    Situation,
    all_have_keys,
    content_pending,
    desired_input_state,
    index_links_of,
    links_of,
    new_matches,
    no_match_possible,
    open_keys_left,
    state_bounds,
    summarize,
)
from services.solver.core.pipe import EdgeState
from services.solver.core.result import EdgeResult, Ledger
from services.solver.core.vertex import CacheMap, ContentSelector, InputRule

INITIAL, FAST, SLOW, COMPLETE = EdgeState
BY_CONTENT = InputRule(content=(ContentSelector(),))
PLAIN, CONTENT = CacheMap(digest="d", inputs=(InputRule(), InputRule())), CacheMap(digest="d", inputs=(BY_CONTENT, BY_CONTENT))


def dep(state: EdgeState, index: int = 0, *, matched: str = "", done: bool = False, found: bool = False) -> Input:
    """An input in a state; `matched`: ids of keys it leads to, one a letter; `done`, `found`: its content key."""
    matches = {id: root_key(id, 0) for id in matched}
    return Input(index=index, state=state, matches=matches, content_done=done, content_found=found)


def now(*deps: Input, cache_map: CacheMap | None = PLAIN, desired: EdgeState = COMPLETE, keys: bool = False, **flags: bool) -> Situation:
    return Situation(
        cache_map=cache_map,
        deps=deps,
        desired=desired,
        summary=summarize(cache_map, deps, map_done=True) if cache_map is not None else summarize(PLAIN, deps, map_done=False),
        has_keys=keys,
        has_records=flags.get("records", False),
        must_run=flags.get("must_run", False),
    )


@pytest.mark.parametrize(
    ("state", "done", "pending"),
    [
        (INITIAL, False, False),
        (FAST, False, False),
        (SLOW, False, True),
        (SLOW, True, True),
        (COMPLETE, False, True),
        (COMPLETE, True, False),
    ],
)
def test_content_is_pending_between_slow_and_its_key(state: EdgeState, done: bool, pending: bool) -> None:
    assert content_pending(CONTENT, dep(state, done=done)) is pending
    assert not content_pending(PLAIN, dep(state, done=done))


@pytest.mark.parametrize(
    ("cache_map", "given", "hopeless"),
    [
        (PLAIN, dep(FAST), False),
        (PLAIN, dep(SLOW), True),
        (PLAIN, dep(SLOW, matched="k"), False),
        (CONTENT, dep(COMPLETE), False),
        (CONTENT, dep(COMPLETE, done=True), True),
        (CONTENT, dep(COMPLETE, done=True, found=True), False),
    ],
)
def test_when_no_match_is_possible_any_more(cache_map: CacheMap, given: Input, hopeless: bool) -> None:
    """Then the vertex must run."""
    assert no_match_possible(cache_map, given) is hopeless


@pytest.mark.parametrize(
    ("cache_map", "deps", "state"),
    [
        (PLAIN, (), SLOW),
        (PLAIN, (dep(INITIAL), dep(INITIAL, 1)), INITIAL),
        (PLAIN, (dep(FAST, matched="k"), dep(SLOW, 1, matched="k")), FAST),  # what all have reached
        (PLAIN, (dep(FAST, matched="k"), dep(SLOW, 1)), SLOW),  # an input without match makes it final
        (PLAIN, (dep(COMPLETE), dep(COMPLETE, 1)), SLOW),  # never complete by inputs alone
        (CONTENT, (dep(SLOW), dep(SLOW, 1)), FAST),  # a pending content key holds it back
        (CONTENT, (dep(COMPLETE, done=True), dep(COMPLETE, 1, done=True)), SLOW),
    ],
)
def test_the_state_that_inputs_justify(cache_map: CacheMap, deps: tuple[Input, ...], state: EdgeState) -> None:
    assert state_bounds(cache_map, deps) is state


def test_nothing_is_summed_up_before_the_last_map() -> None:
    summary = summarize(PLAIN, (dep(COMPLETE),), map_done=False)

    assert not (summary.fast_done or summary.slow_done or summary.keyed_or_slow or summary.complete)


def test_the_flags() -> None:
    slow = summarize(PLAIN, (dep(SLOW), dep(COMPLETE, 1)), map_done=True)
    mixed = summarize(PLAIN, (dep(FAST, matched="k"), dep(SLOW, 1)), map_done=True)
    pending = summarize(CONTENT, (dep(COMPLETE, done=True), dep(COMPLETE, 1)), map_done=True)

    assert (slow.fast_done, slow.slow_done, slow.keyed_or_slow, slow.complete) == (True, True, True, False)
    assert (mixed.fast_done, mixed.slow_done, mixed.keyed_or_slow) == (True, False, True)
    assert (pending.slow_done, pending.complete) == (False, False)


def test_a_match_needs_all_inputs() -> None:
    deps = (dep(FAST, matched="ab"), dep(FAST, 1, matched="bc"))

    assert list(new_matches(deps, {})) == ["b"]
    assert new_matches(deps, {"b": None}) == {}
    assert new_matches((), {}) == {}


@pytest.mark.parametrize(
    ("matches", "used", "left"), [(("ab", "bc"), "", True), (("ab", "bc"), "b", False), (("a", "c"), "", False), (("ab", ""), "", False)]
)
def test_whether_keys_are_left_that_all_may_meet_in(matches: tuple[str, ...], used: str, left: bool) -> None:
    assert open_keys_left(PLAIN, [dep(SLOW, n, matched=m) for n, m in enumerate(matches)], used) is left


def test_links_are_all_names_and_content_has_no_selector() -> None:
    rule, old, new = InputRule(selector="/sub"), root_key("old", 0), root_key("new", 0)
    known = Input(index=0, keys=(old,))
    assert [(link.key, link.selector) for link in links_of(known, rule)] == [(old, "/sub")]

    known.result, known.content_key = EdgeResult(Ledger().issue("ref"), keys=(new,)), content_key("content")
    assert [(link.key.id, link.selector) for link in links_of(known, rule)] == [(new.id, "/sub"), (content_key("content").id, "")]
    assert [link.key.id for link in index_links_of(known, rule)] == [old.id, new.id, content_key("content").id]


def test_whether_each_input_has_a_name() -> None:
    named, content, nameless = Input(index=0, keys=(root_key("k", 0),)), Input(index=1, content_key=content_key("c")), Input(index=2)

    assert all_have_keys((named, content), matching=False)
    assert not all_have_keys((named, nameless), matching=False)
    assert not all_have_keys((named, content), matching=True)


@pytest.mark.parametrize("state", list(EdgeState))
def test_what_must_run_wants_every_input_complete(state: EdgeState) -> None:
    assert desired_input_state(now(dep(state), must_run=True), dep(state)) is COMPLETE


@pytest.mark.parametrize("desired", [FAST, SLOW])
def test_no_input_is_driven_beyond_what_is_wanted(desired: EdgeState) -> None:
    """But for one that is slow: its content may be needed for the slow key."""
    given = dep(desired if desired is FAST else COMPLETE)

    assert desired_input_state(now(given, desired=desired), given) is given.state


def test_an_input_starts_with_its_keys() -> None:
    assert desired_input_state(now(dep(INITIAL)), dep(INITIAL)) is FAST


def test_an_unmatched_input_goes_slow_and_a_matched_one_waits_for_it() -> None:
    """While the unmatched one can still progress, no result is loaded for the matched one."""
    matched, unmatched = dep(FAST, 0, matched="k"), dep(FAST, 1)
    situation = now(matched, unmatched)

    assert desired_input_state(situation, unmatched) is SLOW
    assert desired_input_state(situation, matched) is FAST


def test_before_the_cache_map_is_known_nothing_goes_slow() -> None:
    assert desired_input_state(now(dep(FAST), cache_map=None), dep(FAST)) is FAST
    assert desired_input_state(now(dep(SLOW), cache_map=None), dep(SLOW)) is SLOW


@pytest.mark.parametrize(("records", "state"), [(False, COMPLETE), (True, SLOW)])
def test_results_are_not_made_where_a_cached_one_is_known(records: bool, state: EdgeState) -> None:
    given = dep(SLOW)

    assert desired_input_state(now(given, records=records), given) is state


def test_content_is_read_for_the_slow_key_even_if_no_result_is_wanted() -> None:
    given = dep(SLOW)

    assert desired_input_state(now(given, cache_map=CONTENT, desired=SLOW), given) is COMPLETE
    assert desired_input_state(now(given, cache_map=PLAIN, desired=SLOW), given) is SLOW
