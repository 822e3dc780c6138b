"""Filter expressions: what they select, and what is refused."""

import pytest

from shared.model.filters import parse_filter

THING = {("type",): "regular", ("id",): "abc", ("labels", "env"): "prod", ("labels", "a.b"): "x y"}


def field(path: object) -> str | None:
    return THING.get(tuple(path))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expressions", "expected"),
    [
        ([], True),
        ([""], True),
        (["type==regular"], True),
        (["type == regular"], True),
        (["type==other"], False),
        (["type!=other"], True),
        (["missing!=other"], True),
        (["missing==other"], False),
        (["labels.env"], True),
        (["labels.missing"], False),
        (["labels.env~=^pr"], True),
        (["id~=/b./"], True),
        (["id~=|^b|"], False),
        (['labels."a.b"=="x y"'], True),
        (["type==regular,id==abc"], True),
        (["type==regular,id==other"], False),
        (["id==other", "type==regular"], True),
    ],
)
def test_matching(expressions: list[str], expected: bool) -> None:
    """Clauses are ANDed, expressions are ORed."""
    assert parse_filter(expressions).matches(field) is expected


@pytest.mark.parametrize(
    "expression",
    [
        "=",
        "type=",
        "type=x",
        "type==",
        "type==a b",
        ",",
        "type==x,",
        "type<x",
        'type=="x',
        "id~=(",
        "id~=(a+)+$",
        "id~=(a|a)*b",
        "id~=.*.*.*.*.*x",
        "x" * 5000,
        "id~=" + "a" * 300,
    ],
)
def test_refused(expression: str) -> None:
    """Malformed, oversized and exponential expressions raise ValueError."""
    with pytest.raises(ValueError, match="filters"):
        parse_filter([expression])
