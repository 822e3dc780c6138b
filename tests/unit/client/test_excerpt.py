"""The lines of the Dockerfile that an error is about."""

from __future__ import annotations

from client.excerpt import excerpts
from shared.errors import BuildFailed, Detail, source_detail
from shared.model import SourceInfo, SourcePosition, SourceRange

INFO = SourceInfo(filename="Dockerfile", data=b"".join(b"line %d\n" % n for n in range(1, 10)))


def lines(start: int, end: int) -> SourceRange:
    return SourceRange(start=SourcePosition(line=start, character=0), end=SourcePosition(line=end, character=0))


def test_marked_lines() -> None:
    error = BuildFailed("x", details=[source_detail(INFO, [lines(4, 5)])])
    assert excerpts(error).splitlines() == [
        "Dockerfile:4",
        "-" * 20,
        "   2 |     line 2",
        "   3 |     line 3",
        "   4 | >>> line 4",
        "   5 | >>> line 5",
        "   6 |     line 6",
        "   7 |     line 7",
        "-" * 20,
    ]


def test_nothing_to_show() -> None:
    odd = Detail(type_url="github.com/moby/buildkit/errdefs.Source+json", value=b'{"info":1}')
    assert excerpts(BuildFailed("x")) == ""
    assert excerpts(BuildFailed("x", details=[odd])) == ""
    assert excerpts(BuildFailed("x", details=[source_detail(INFO, [lines(40, 50)])])) == ""
    assert excerpts(ValueError("x")) == ""
