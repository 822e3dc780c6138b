"""Parts of answers; whole answers are golden cases."""

from services.frontend.core.failure import Span
from services.frontend.core.subrequests.answer import answer_subrequest
from services.frontend.core.subrequests.as_llb import answer_convert
from services.frontend.core.subrequests.describe import answer_describe
from services.frontend.core.subrequests.lint import answer_lint
from services.frontend.core.subrequests.outline import answer_outline
from services.frontend.core.subrequests.places import excerpt, excerpt_lines, location_json, merged
from services.frontend.core.subrequests.tables import table
from services.frontend.core.subrequests.targets import answer_targets


def span(start: int, end: int | None = None) -> Span:
    return Span(start=start, end=start if end is None else end)


def test_columns_are_as_wide_as_adjoining_cells() -> None:
    assert table("a\tbb\tc\nlong\tb\tc\n", 1) == "a    bb c\nlong b  c\n"
    assert table("a\tb\n\nlonger\tb\n", 3) == "a   b\n\nlonger   b\n"
    assert table("", 1) == ""


def test_places_are_joined_where_they_overlap() -> None:
    assert merged([(span(3), span(1, 2)), (span(2),)]) == (span(1, 2), span(3))
    assert merged([]) == ()
    assert location_json((span(0),)) == {"ranges": [{"start": {}, "end": {}}]}
    assert location_json(()) == {}


def test_an_excerpt_marks_the_lines() -> None:
    data = excerpt_lines(b"1\n2\n3\n4\n5\n6\n7\n8")

    assert excerpt("F", data, (span(4),)) == (
        "F:4\n--------------------\n   2 |     2\n   3 |     3\n   4 | >>> 4\n   5 |     5\n   6 |     6\n--------------------\n"
    )
    assert excerpt("F", data, (span(1, 2),)).splitlines()[2:-1] == ["   1 | >>> 1", "   2 | >>> 2", "   3 |     3"]
    assert excerpt("F", data, (span(99),)) == ""
    assert excerpt("F", data, ()) == ""


def test_targets_and_descriptions_need_no_build() -> None:
    assert answer_targets(b"# a one\nFROM x AS a\nFROM y\n")["result.txt"] == b"TARGET    DESCRIPTION\na         one\n(default) \n"
    assert b"frontend.outline" in answer_describe()["result.json"]


def test_the_others_ask_for_the_conversion() -> None:
    assert all(callable(f) for f in (answer_subrequest, answer_convert, answer_lint, answer_outline))
