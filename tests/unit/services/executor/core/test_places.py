"""Room for containers of drivers."""

from contextlib import ExitStack

import pytest

from services.executor.core.places import Places, places_of
from shared.errors import Exhausted


def test_there_are_many_more_than_steps() -> None:
    assert [places_of(slots) for slots in (1, 4, 8)] == [64, 64, 128]


def test_one_identity_locks_nobody_out_and_nobody_waits() -> None:
    """A refusal names who has how many; what was given back is there again, also after a failure."""
    places = Places(4)
    with ExitStack() as alice, ExitStack() as bob:
        for _ in range(3):
            alice.enter_context(places.take("alice"))
        with pytest.raises(Exhausted, match="alice has 3 containers on this executor already"), places.take("alice"):
            raise AssertionError
        bob.enter_context(places.take("bob"))
        with pytest.raises(Exhausted, match="this executor has 4 containers"), places.take(""):
            raise AssertionError
        alice.close()
        with pytest.raises(RuntimeError), places.take("carol"):
            raise RuntimeError
        for _ in range(3):
            bob.enter_context(places.take("carol"))
        with pytest.raises(Exhausted, match="this executor has 4"), places.take("carol"):
            raise AssertionError


def test_one_place_is_anybodys() -> None:
    """Who is not known is one of them."""
    places = Places(1)
    with places.take(""), pytest.raises(Exhausted), places.take(""):
        raise AssertionError
