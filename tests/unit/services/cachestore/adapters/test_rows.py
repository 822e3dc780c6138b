"""Rows as bytes."""

import msgpack
import pytest

from services.cachestore.adapters.rows import decode_row, encode_row, row_key
from services.cachestore.core.key_graph import Link, LinkRow, ResultRow, Row
from shared.model import Ref, is_safe_id

LINK = LinkRow("a", Link(0, 1, "d", "s"), "b")
RESULT = ResultRow("k", "r", 5, Ref(id="r", home="e"))


@pytest.mark.parametrize("row", [LINK, RESULT, ResultRow("k", "scratch", 0, None), ResultRow("k", "r", 5, None, "alice")])
def test_they_come_back(row: Row) -> None:
    assert decode_row(encode_row(row)) == row
    assert is_safe_id(row_key(row))


def test_what_was_stored_before_identities_were_kept_is_read() -> None:
    assert decode_row(msgpack.packb(["result", "k", "r", 5, None])) == ResultRow("k", "r", 5, None, "")


def test_identities() -> None:
    """A result is the same row whatever is known of its ref; every part of a link tells it from others."""
    assert row_key(RESULT) == row_key(ResultRow("k", "r", 9, None))
    others = [
        LinkRow("x", LINK.link, "b"),
        LinkRow("a", LINK.link, "x"),
        *(LinkRow("a", Link(i, o, d, s), "b") for i, o, d, s in [(1, 1, "d", "s"), (0, 0, "d", "s"), (0, 1, "x", "s"), (0, 1, "d", "")]),
    ]
    assert len({row_key(row) for row in [LINK, *others]}) == len(others) + 1


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x90", b"\x95\xa6result\xa1k\xa1r\xa1x\xc0", encode_row(RESULT)[:-3]])
def test_damage_is_none(data: bytes) -> None:
    assert decode_row(data) is None
