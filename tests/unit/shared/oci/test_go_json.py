"""JSON bytes are those of Go's encoding/json."""

import pytest

from shared.oci import go_json, go_json_indent, load_object


def test_escapes() -> None:
    """HTML characters and the two line separators are escaped, other letters stay as they are."""
    assert go_json({"a": '<>&\u2028\u2029é\n"'}) == b'{"a":"\\u003c\\u003e\\u0026\\u2028\\u2029\xc3\xa9\\n\\""}'


def test_order_and_indent() -> None:
    """The given order unless sorted; two spaces, no final newline, empty containers closed at once."""
    assert go_json({"b": 1, "a": []}) == b'{"b":1,"a":[]}'
    assert go_json({"b": 1, "a": []}, sort_keys=True) == b'{"a":[],"b":1}'
    assert go_json_indent({"b": [1], "a": {}}) == b'{\n  "b": [\n    1\n  ],\n  "a": {}\n}'


@pytest.mark.parametrize("data", [b"", b"[1]", b"null", b"{", b"\xff", b'{"a":' * 5000, b"{}" + b" " * 100])
def test_only_objects_of_bounded_size(data: bytes) -> None:
    """Anything else is refused by name."""
    with pytest.raises(ValueError, match="invalid thing"):
        load_object(data, "thing", limit=99)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("\b\f\x01\x7f", b'"\\b\\f\\u0001\x7f"'),
        ("a\udcff", b'"a\\ufffd"'),
        ("a\ufffd", '"a\ufffd"'.encode()),
        ("\ud800", '"\ufffd"'.encode()),
    ],
)
def test_odd_strings(text: str, written: bytes) -> None:
    """A byte that is no UTF-8 is written as an escape, the character that stands for one as it is."""
    assert go_json(text) == written
