"""Which workers a client is shown."""

from dataclasses import dataclass, field

import pytest

from services.gateway.core.workers import select_workers
from shared.errors import InvalidInput


@dataclass(frozen=True)
class Executor:
    id: str
    labels: dict[str, str] = field(default_factory=dict)


A = Executor("a", {"org.mobyproject.buildkit.worker.executor": "oci"})
B = Executor("b")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ([], [A, B]),
        (["id==b"], [B]),
        (["labels.org.mobyproject.buildkit.worker.executor==oci"], [A]),
        (['labels."org.mobyproject.buildkit.worker.executor"'], [A]),
        (["id==c"], []),
        (["other"], []),
    ],
)
def test_select(filters: list[str], expected: list[Executor]) -> None:
    """By id and by label; order is kept, the first is the default."""
    assert select_workers([A, B], filters) == expected


def test_bad_filter() -> None:
    """An error, not an empty list."""
    with pytest.raises(InvalidInput):
        select_workers([A], ["id="])
