"""Held results: given back when the last holder lets go, once; a holder too many is a broken invariant."""

import pytest

from services.solver.core.result import EdgeResult, Ledger


def test_the_last_holder_releases() -> None:
    ledger = Ledger()
    shared = ledger.issue("ref")
    other = shared.hold()
    shared.drop()
    assert (ledger.held, ledger.drain()) == (1, [])

    other.drop()
    assert (ledger.held, ledger.drain(), ledger.drain()) == (0, ["ref"], [])


def test_scratch_is_a_result_too() -> None:
    ledger = Ledger()
    ledger.issue(None).drop()

    assert ledger.drain() == [None]


def test_what_was_released_can_neither_be_held_nor_dropped() -> None:
    shared = Ledger().issue("ref")
    shared.drop()

    with pytest.raises(AssertionError, match="held a released"):
        shared.hold()
    with pytest.raises(AssertionError, match="twice"):
        shared.drop()


def test_an_edge_s_result_shows_the_value() -> None:
    assert EdgeResult(Ledger().issue("ref")).value == "ref"
