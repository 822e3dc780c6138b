"""Which records a prune takes, and in which order."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.cachestore.core.gc_policy import Limits, Question, Record, keep_bytes, plan

GB = 10**9
HOUR = 3600 * 10**9


def question(limits: Limits | None = None, **fields: Any) -> Question:
    return Question(limits=limits or Limits(), **{"free": 50 * GB, "now": 1000 * HOUR, "matches": lambda id: True, **fields})


@pytest.mark.parametrize(
    ("total", "free", "limits", "expected"),
    [
        (100, 0, Limits(), 0),
        (100, 50, Limits(max_used_space=60), 60),
        (100, 50, Limits(max_used_space=60, reserved_space=80), 80),
        (100, 50, Limits(min_free_space=70), 80),
        (100, 50, Limits(min_free_space=70, max_used_space=60), 60),
        (100, 50, Limits(min_free_space=70, max_used_space=90), 80),
        (100, 50, Limits(min_free_space=40), 100),
        (100, 50, Limits(min_free_space=500), 0),
        (100, 50, Limits(min_free_space=500, reserved_space=10), 10),
        (100, 50, Limits(reserved_space=30), 30),
    ],
)
def test_how_much_may_stay(total: int, free: int, limits: Limits, expected: int) -> None:
    assert keep_bytes(total, free, limits) == expected


def test_without_limits_all_goes_children_before_parents() -> None:
    chain = [Record(id="base", size=5), Record(id="mid", size=5, parents=("base",)), Record(id="top", size=5, parents=("mid",))]

    assert plan(chain, question()) == ["top", "mid", "base"]


def test_what_is_in_use_and_what_it_stands_on_stays() -> None:
    records = [Record(id="base"), Record(id="used", parents=("base",), in_use=True), Record(id="free", parents=("base",))]

    assert plan(records, question()) == ["free"]


@pytest.mark.parametrize("kind", ["internal", "frontend"])
def test_internal_records_go_only_with_all(kind: str) -> None:
    records = [Record(id="a", record_type=kind), Record(id="b")]

    assert plan(records, question()) == ["b"]
    assert sorted(plan(records, question(Limits(all=True)))) == ["a", "b"]


def test_shared_records_go_only_with_all_and_never_count() -> None:
    records = [Record(id="s", size=100 * GB, shared=True), Record(id="b", size=GB)]

    assert plan(records, question(Limits(max_used_space=2 * GB))) == []
    assert plan(records, question()) == ["b"]


def test_keep_duration_spares_what_was_used_lately() -> None:
    records = [Record(id="old", last_used_at=900 * HOUR), Record(id="new", last_used_at=990 * HOUR), Record(id="never")]

    assert sorted(plan(records, question(Limits(keep_duration=48 * HOUR)))) == ["never", "old"]


def test_the_filter_chooses() -> None:
    assert plan([Record(id="a"), Record(id="b")], question(matches="b".__eq__)) == ["b"]


def test_what_the_executor_refused_is_not_asked_for_again() -> None:
    records = [Record(id="base"), Record(id="top", parents=("base",))]

    assert plan(records, question(refused=frozenset({"top"}))) == []


def test_a_cap_takes_the_least_used_and_longest_unused_until_the_rest_fits() -> None:
    records = [
        Record(id="old often", size=GB, last_used_at=1 * HOUR, usage_count=9),
        Record(id="old once", size=GB, last_used_at=1 * HOUR, usage_count=1),
        Record(id="new once", size=GB, last_used_at=9 * HOUR, usage_count=1),
        Record(id="new often", size=GB, last_used_at=9 * HOUR, usage_count=9),
    ]

    assert plan(records, question(Limits(max_used_space=2 * GB)))[0] == "old once"
    assert len(plan(records, question(Limits(max_used_space=2 * GB)))) == 2
    assert "new often" not in plan(records, question(Limits(max_used_space=GB)))


def test_a_cap_that_is_kept_takes_nothing() -> None:
    assert plan([Record(id="a", size=GB)], question(Limits(max_used_space=GB))) == []
    assert plan([Record(id="a", size=GB)], question(Limits(min_free_space=GB))) == []


def test_a_large_cache_is_planned_quickly() -> None:
    records = [Record(id=f"{i:05}", size=GB, parents=(f"{i - 1:05}",) if i % 50 else (), usage_count=i % 7) for i in range(20_000)]

    assert len(plan(records, question(Limits(max_used_space=10_000 * GB)))) == 10_000


@st.composite
def caches(draw: st.DrawFn) -> list[Record]:
    size = draw(st.integers(0, 25))
    return [
        Record(
            id=str(i),
            size=draw(st.integers(0, 10)),
            in_use=draw(st.booleans()) and draw(st.booleans()),
            parents=tuple(sorted({str(p) for p in draw(st.lists(st.integers(0, i - 1), max_size=2))})) if i else (),
            last_used_at=draw(st.integers(0, 5)),
            usage_count=draw(st.integers(0, 3)),
        )
        for i in range(size)
    ]


@given(caches(), st.builds(Limits, reserved_space=st.integers(0, 40), max_used_space=st.integers(0, 80), min_free_space=st.integers(0, 60)))
@settings(max_examples=300, deadline=None)
def test_no_plan_breaks_a_promise(records: list[Record], limits: Limits) -> None:
    asked = question(limits, free=20)
    taken = plan(records, asked)
    by_id = {r.id: r for r in records}
    left = {r.id for r in records} - set(taken)

    assert len(taken) == len(set(taken))
    assert not any(by_id[id].in_use for id in taken)
    for at, id in enumerate(taken):  # a parent goes after all of its children
        assert all(child.id in taken[:at] for child in records if id in child.parents)
    total = sum(r.size for r in records)
    keep = keep_bytes(total, 20, limits)
    rest = sum(by_id[id].size for id in left)
    if keep and total > keep and taken:
        assert rest + by_id[taken[-1]].size > keep  # not one more than needed
    if keep and rest > keep:  # then nothing more could go
        assert all(by_id[id].in_use or any(id in by_id[c].parents for c in left) for id in left)
