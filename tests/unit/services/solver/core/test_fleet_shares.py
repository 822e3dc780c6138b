"""Shares of identities in a fleet of solvers: even by weight, what one does not want goes to others, nobody gets nothing."""

from hypothesis import given
from hypothesis import strategies as st

from services.solver.core.fleet_shares import portions

WANTS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 40))


def test_two_who_want_much_share_evenly_wherever_they_ask() -> None:
    one, two = {"a": 100}, {"a": 100, "b": 100}
    assert portions(12, one, [two], {}) == {"a": 3}
    assert portions(12, two, [one], {}) == {"a": 3, "b": 6}


def test_weights_count_in_the_whole_fleet() -> None:
    assert portions(12, {"a": 100}, [{"b": 100}], {"b": 3.0}) == {"a": 3}
    assert portions(12, {"b": 100}, [{"a": 100}], {"b": 3.0}) == {"b": 9}


def test_what_one_does_not_want_goes_to_others() -> None:
    assert portions(12, {"a": 100}, [{"b": 2}], {}) == {"a": 10}
    assert portions(12, {"a": 3}, [{"b": 2}], {}) == {"a": 3}


def test_nobody_gets_nothing() -> None:
    assert portions(1, {f"{number}": 5 for number in range(10)}, [{"x": 1000}], {"x": 100.0}) == {f"{number}": 1 for number in range(10)}
    assert portions(4, {}, [{"x": 1}], {}) == {}


@given(capacity=st.integers(1, 64), own=WANTS, others=st.lists(WANTS, max_size=3), weight=st.floats(0.1, 10))
def test_together_they_fill_the_pool_and_hardly_more(
    capacity: int, own: dict[str, int], others: list[dict[str, int]], weight: float
) -> None:
    everybody = [own, *others]
    given = [portions(capacity, wants, [other for other in everybody if other is not wants], {"a": weight}) for wants in everybody]
    wanted = sum(sum(wants.values()) for wants in everybody)
    total = sum(sum(part.values()) for part in given)
    assert total >= min(capacity, wanted)
    assert total <= capacity + sum(len(part) for part in given), "each is rounded up"
