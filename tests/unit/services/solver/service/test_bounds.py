"""What one build may make its solver keep."""

import pytest

from services.solver.core.provenance.callers import Producers, Request
from services.solver.service import ledger as ledger_module
from services.solver.service.bounds import Bound
from services.solver.service.ledger import NESTING, Ledger
from shared.errors import BuildFailed, Exhausted


def test_numbers_and_bytes_are_both_counted_and_what_is_refused_is_not() -> None:
    bound = Bound(what="things", most=3, most_bytes=100)
    bound.take(2, 60)

    with pytest.raises(Exhausted, match="one build can have 3 things, of 100 bytes together"):
        bound.take(2, 1)
    with pytest.raises(Exhausted):
        bound.take(1, 41)
    bound.take(1, 40)

    assert (bound.count, bound.size) == (3, 100)


def test_frontends_may_stand_side_by_side_but_not_too_deep() -> None:
    ledger = Ledger(Request(), Producers())
    for _ in range(2 * NESTING):
        ledger.begin(ledger.client, Request(frontend="dockerfile.v0"))
    deepest = ledger.client
    for _ in range(NESTING):
        deepest = ledger.begin(deepest, Request(frontend="dockerfile.v0"))

    with pytest.raises(BuildFailed, match=f"frontends nested deeper than {NESTING}"):
        ledger.begin(deepest, Request(frontend="dockerfile.v0"))


def test_runs_of_frontends_are_counted_with_their_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "MOST_BYTES", 10)
    ledger = Ledger(Request(), Producers())
    ledger.begin(ledger.client, Request(frontend="f", options={"key": "value"}))

    with pytest.raises(Exhausted, match="runs of frontends"):
        ledger.begin(ledger.client, Request(frontend="f", options={"key": "value"}))
