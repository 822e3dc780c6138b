"""Directives at the top of a file."""

import pytest

from services.frontend.core.dockerfile.directives import DirectiveReader, detect_syntax, find_directive
from services.frontend.core.failure import line_spans


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"# syntax=a/b:1 opt\nFROM x", ("a/b:1", "a/b:1 opt", line_spans(1, 1))),
        (b"\xef\xbb\xbf#syntax = a\n", ("a", "a", line_spans(1, 1))),
        (b"#!/bin/x\n# SYNTAX=a\r\n", ("a", "a", line_spans(2, 2))),
        (b"# escape=`\n# syntax=a\n", ("a", "a", line_spans(2, 2))),
        (b"// syntax=a\n", ("a", "a", line_spans(1, 1))),
        (b'{"syntax": "a"}', ("a", "a", line_spans(0, 0))),
        (b"# hello\n# syntax=a\n", None),
        (b"\n# syntax=a\n", None),
        (b"FROM x\n# syntax=a\n", None),
        (b"# foo=bar\n# syntax=a\n", None),
        (b'{"syntax": 1}', None),
        (b"{" * 100_000, None),
    ],
)
def test_the_syntax_line_is_found(data: bytes, found: object) -> None:
    assert detect_syntax(data) == found


def test_other_directives_are_found_by_name() -> None:
    directive = find_directive("check", b"# escape=`\n# check=skip=all;error=true\n")

    assert directive is not None
    assert directive.value == "skip=all;error=true"


def test_reading_stops_at_the_first_other_line() -> None:
    reader = DirectiveReader()

    assert reader.read("FROM x") is None
    assert reader.done
    assert reader.read("# syntax=a") is None
