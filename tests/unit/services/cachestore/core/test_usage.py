"""Filters of du and prune."""

import pytest

from services.cachestore.core.gc_policy import Record
from services.cachestore.core.usage import Described, means, usage_filter
from shared.errors import InvalidInput

ITEM = Described(record=Record(id="abc", parents=("p1", "p2"), in_use=True, record_type="source.local"), description="local source for x")


@pytest.mark.parametrize(
    ("expressions", "expected"),
    [
        ([], True),
        ([""], True),
        (["id==abc"], True),
        (["id==ab"], False),
        (["id~=^ab"], True),
        (["type==source.local"], True),
        (["type==regular", "type==source.local"], True),
        (["type==source.local,id==other"], False),
        (["parents==p1;p2"], True),
        (["inuse"], True),
        (["mutable"], False),
        (["immutable"], True),
        (["shared"], False),
        (["private"], True),
        (["description~=context"], False),
        (["foo==x"], False),
        (["foo!=x"], True),
        (["inuse.deep"], False),
    ],
)
def test_what_a_filter_means(expressions: list[str], expected: bool) -> None:
    assert means(usage_filter(expressions), ITEM) is expected


def test_a_broken_filter_is_named() -> None:
    with pytest.raises(InvalidInput, match="id="):
        usage_filter(["id="])
