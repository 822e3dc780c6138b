"""Living edges found by meaning: same digest, output and some common name of each input; nothing is left of those released."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.solver.core.cache_key import CacheKey, KeyLink, root_key
from services.solver.core.edge_index import EdgeIndex


@dataclass(eq=False)
class FakeEdge:
    """All that the index looks at."""

    ignore_cache: bool = False


def edge(*, ignore_cache: bool = False) -> FakeEdge:
    return FakeEdge(ignore_cache)


def key(digest: str, *inputs: CacheKey | tuple[CacheKey, ...], output: int = 0, selector: str = "") -> CacheKey:
    """A key over inputs, each with one name or several."""
    links = tuple(tuple(KeyLink(name, selector) for name in (i if isinstance(i, tuple) else (i,))) for i in inputs)
    return CacheKey(id=digest, digest=digest, output=output, inputs=links) if inputs else root_key(digest, output)


def find(index: EdgeIndex, made: CacheKey, who: FakeEdge) -> FakeEdge | None:
    return index.find_or_add(made, who)  # type: ignore[arg-type, return-value]


def release(index: EdgeIndex, who: FakeEdge) -> None:
    index.release(who)  # type: ignore[arg-type]


def test_the_same_root_is_found() -> None:
    index, first = EdgeIndex(), edge()

    assert find(index, key("a"), first) is None
    assert find(index, key("a"), edge()) is first
    assert find(index, key("a"), first) is None  # never itself


@pytest.mark.parametrize(
    "other",
    [
        key("op2", key("in")),
        key("op", key("in2")),
        key("op", key("in"), output=1),
        key("op", key("in"), selector="/sub"),
        key("op", key("in"), key("in")),
    ],
    ids=["digest", "input", "output", "selector", "inputs"],
)
def test_another_meaning_is_another_edge(other: CacheKey) -> None:
    index = EdgeIndex()
    assert find(index, key("op", key("in")), edge()) is None

    assert find(index, other, edge()) is None


def test_one_common_name_of_each_input_is_enough() -> None:
    """An input that is also known by its content meets one that is known by nothing else."""
    index, first = EdgeIndex(), edge()
    find(index, key("op", (key("by-definition"), key("by-content"))), first)

    assert find(index, key("op", (key("elsewhere"), key("by-content"))), edge()) is first


def test_inputs_must_agree_on_one_edge() -> None:
    """Input 0 leads to the one, input 1 to the other: neither is equal."""
    index = EdgeIndex()
    find(index, key("op", key("a"), key("b")), edge())
    find(index, key("op", key("c"), key("d")), edge())

    assert find(index, key("op", key("a"), key("d")), edge()) is None


def test_chains_meet_by_what_their_inputs_are() -> None:
    index, first = EdgeIndex(), edge()
    find(index, key("top", key("middle", key("root"))), first)

    assert find(index, key("top", key("middle", key("root"))), edge()) is first


def test_no_cache_follows_no_cache_only() -> None:
    index, plain, fresh = EdgeIndex(), edge(), edge(ignore_cache=True)
    assert find(index, key("a"), plain) is None
    assert find(index, key("a"), fresh) is None  # and takes the place: whoever comes may have its newer result
    assert find(index, key("a"), edge()) is fresh
    assert find(index, key("a"), edge(ignore_cache=True)) is fresh


def test_a_released_edge_is_not_found_and_release_repeats() -> None:
    index, first = EdgeIndex(), edge()
    find(index, key("op", key("in")), first)
    release(index, first)
    release(index, first)

    assert find(index, key("op", key("in")), edge()) is None


@given(st.lists(st.tuples(st.sampled_from("abc"), st.lists(st.sampled_from("xyz"), max_size=2)), max_size=12), st.randoms())
def test_nothing_is_left_when_all_are_released(made: list[tuple[str, list[str]]], random: object) -> None:
    index, edges = EdgeIndex(), list[FakeEdge]()
    for digest, inputs in made:
        edges.append(edge())
        find(index, key(digest, *map(key, inputs)), edges[-1])
    random.shuffle(edges)  # type: ignore[attr-defined]
    for one in edges:
        release(index, one)

    assert len(index) == 0
