"""Who is next: shares between identities, priorities and aging within one, and that nobody starves."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from services.solver.core.fair_queue import AGING, FairQueue, Place


def queue_of(*places: Place, weights: dict[str, float] | None = None) -> FairQueue:
    queue = FairQueue(weights)
    for place in places:
        queue.add(place)
    return queue


def many(identity: str, count: int, first: int = 0) -> list[Place]:
    return [Place(id=first + i, identity=identity, since=float(i)) for i in range(count)]


def taken(queue: FairQueue, count: int) -> list[str]:
    found = [queue.take() for _ in range(count)]
    return [place.identity for place in found if place is not None]


def test_a_crowd_of_one_identity_does_not_keep_another_waiting() -> None:
    queue = queue_of(*many("crowd", 50), Place(id=99, identity="late", since=100))

    assert taken(queue, 2) == ["crowd", "late"]


def test_slots_are_shared_by_weight() -> None:
    queue = queue_of(*many("a", 40), *many("b", 40, 100), weights={"a": 3.0})

    assert Counter(taken(queue, 20)) == {"a": 15, "b": 5}


def test_a_slot_given_back_goes_to_whoever_holds_fewer() -> None:
    queue = queue_of(*many("a", 5), *many("b", 5, 100))
    assert taken(queue, 4) == ["a", "b", "a", "b"]

    queue.give_back("b")

    assert taken(queue, 1) == ["b"]


def test_priority_orders_one_identity_only() -> None:
    queue = queue_of(
        Place(id=1, identity="a", since=0), Place(id=2, identity="a", priority=5, since=1), Place(id=3, identity="b", priority=-10, since=2)
    )

    assert queue.order() == [2, 3, 1]


def test_waiting_raises_the_priority() -> None:
    queue = queue_of(Place(id=1, identity="a", since=0), Place(id=2, identity="a", priority=1, since=AGING + 1))

    assert queue.order() == [1, 2]


def test_who_leaves_is_not_taken() -> None:
    queue = queue_of(*many("a", 3))
    queue.leave(0)
    queue.leave(0)

    assert [place.id for place in (queue.take(), queue.take()) if place] == [1, 2]
    assert queue.take() is None
    assert (len(queue), queue.held) == (0, 2)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.integers(-10, 10)), min_size=1, max_size=40), st.data())
def test_nobody_who_holds_nothing_waits_for_one_who_does(wants: list[tuple[str, int]], data: st.DataObject) -> None:
    """The starvation bound: an identity without a slot gets one of the next that are taken, as many as there are such identities."""
    queue = queue_of(*(Place(id=i, identity=who, priority=p, since=float(i)) for i, (who, p) in enumerate(wants)))
    held: Counter[str] = Counter()
    waiting = Counter(who for who, _ in wants)
    while len(queue):
        if held and data.draw(st.booleans()):
            who = data.draw(st.sampled_from(sorted(held.elements())))
            queue.give_back(who)
            held[who] -= 1
        assert queue.order()[0] is not None
        empty_handed = {who for who in waiting if waiting[who] and not held[who]}
        place = queue.take()
        assert place is not None
        assert not empty_handed or place.identity in empty_handed
        held[place.identity] += 1
        waiting[place.identity] -= 1
