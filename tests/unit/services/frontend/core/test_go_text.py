"""Rules taken over from Go's standard library."""

from functools import cache
from itertools import product

import pytest

from services.frontend.core.failure import DockerfileError, nearest, within
from services.frontend.core.go_text import (
    csv_fields,
    format_duration,
    parse_duration,
    parse_int,
    parse_ram_size,
    parse_uint,
    plain_list,
    quote_list,
)
from shared.llb.go_text import parse_bool, quote


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a b", '"a b"'),
        ('"\\', '"\\"\\\\"'),
        ("\n\t\x01\x7f", '"\\n\\t\\x01\\x7f"'),
        ("é한", '"é한"'),
        ("\u00a0\u200b", '"\\u00a0\\u200b"'),
        ("\udcff", '"\\xff"'),
        ("\U000e0001", '"\\U000e0001"'),
    ],
)
def test_strings_are_quoted(text: str, quoted: str) -> None:
    assert quote(text) == quoted


def test_lists_are_shown() -> None:
    assert quote_list(["a", "b"]) == '["a" "b"]'
    assert plain_list(["a", "b"]) == "[a b]"


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("0", 0), ("1h2m3s", 3723 * 10**9), ("1.5s", 1_500_000_000), ("100ms", 10**8), ("-1us", -1000), (".5m", 30 * 10**9), ("+3ns", 3)],
)
def test_durations_are_read(text: str, nanoseconds: int) -> None:
    assert parse_duration(text) == nanoseconds


@pytest.mark.parametrize("text", ["", "1", "s", "1x", "1h-2m", ".s", "9" * 30 + "s"])
def test_bad_durations_are_refused(text: str) -> None:
    with pytest.raises(DockerfileError):
        parse_duration(text)


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [(0, "0s"), (1, "1ns"), (1500, "1.5µs"), (10**8, "100ms"), (90 * 10**9, "1m30s"), (3600 * 10**9, "1h0m0s"), (-(10**9), "-1s")],
)
def test_durations_are_shown(nanoseconds: int, text: str) -> None:
    assert format_duration(nanoseconds) == text


def test_numbers_and_booleans() -> None:
    assert [parse_bool(t) for t in ("1", "T", "False", "yes")] == [True, True, False, None]
    assert parse_int("-5") == -5
    assert parse_uint("755", 8, 32) == 0o755
    assert parse_uint("8", 8) is None
    assert parse_uint("4294967296", 10, 32) is None
    for text in ("x", "", "1" * 50, "9223372036854775808"):
        with pytest.raises(DockerfileError):
            parse_int(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("1k", 1024),
        ("1.5K", 1536),
        ("2 MiB", 2 << 20),
        ("3gb", 3 << 30),
        ("1b", 1),
        ("x", None),
        ("1x", None),
        ("1kx", None),
        ("", None),
    ],
)
def test_sizes(text: str, size: int | None) -> None:
    assert parse_ram_size(text) == size


def test_csv_lines() -> None:
    assert csv_fields('a,"b,c","d""e",') == ["a", "b,c", 'd"e', ""]
    assert csv_fields("a\r\n") == ["a"]
    for text in ('"a', '"a"b', 'a"', ""):
        with pytest.raises(DockerfileError):
            csv_fields(text)


def test_suggestions_are_near_and_never_the_word_itself() -> None:
    assert nearest("biuld", ["build", "test"]) == "build"
    assert nearest("build", ["build", "guild"]) == ""
    assert nearest("RNU", ["run"], case_sensitive=False) == "RUN"
    assert nearest("xyz", ["build"]) == ""
    assert nearest("A7", ["C9", "A1", "A72"]) == "A1"
    assert nearest("abc", ["axyc", "abd"]) == "abd"


@pytest.mark.parametrize("edits", [0, 1, 2, 3])
def test_few_edits_are_counted_as_levenshtein_counts_them(edits: int) -> None:
    words = ["".join(w) for size in range(5) for w in product("ab", repeat=size)]

    assert all(within(a, b, edits) == (_distance(a, b) <= edits) for a in words for b in words)


@cache
def _distance(a: str, b: str) -> int:
    if not a or not b:
        return len(a) + len(b)
    return min(_distance(a[1:], b) + 1, _distance(a, b[1:]) + 1, _distance(a[1:], b[1:]) + (a[0] != b[0]))
