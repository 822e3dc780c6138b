"""path_match follows Go's path.Match, its own test table included."""

import pytest

from services.executor.core.path_match import has_wildcards, path_match


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("abc", "abc", True),
        ("*", "abc", True),
        ("*c", "abc", True),
        ("a*", "a", True),
        ("a*", "ab/c", False),
        ("a*/b", "abc/b", True),
        ("a*/b", "a/c/b", False),
        ("a*b*c*d*e*/f", "axbxcxdxe/f", True),
        ("a*b?c*x", "abxbbxdbxebxczzx", True),
        ("ab[c]", "abc", True),
        ("ab[b-d]", "abc", True),
        ("ab[e-g]", "abc", False),
        ("ab[^c]", "abc", False),
        ("ab[^e-g]", "abc", True),
        ("a\\*b", "a*b", True),
        ("a\\*b", "ab", False),
        ("a?b", "a☺b", True),
        ("a[^a]b", "a☺b", True),
        ("[a-ζ]*", "α", True),
        ("a?b", "a/b", False),
        ("[\\]a]", "]", True),
        ("[\\-]", "-", True),
        ("[x\\-]", "z", False),
        ("[z-a]", "b", False),
        ("[^z-a]", "b", True),
        ("a**b", "axxb", True),
    ],
)
def test_table(pattern: str, path: str, expected: bool) -> None:
    """Pattern by pattern."""
    assert path_match(pattern, path) is expected


@pytest.mark.parametrize("pattern", ["[]a]", "[-]", "[x-]", "[-x]", "[", "[^", "[^bc", "a[", "\\", "[\\", "[a-b-c]"])
def test_malformed(pattern: str) -> None:
    """Malformed patterns are refused whatever they are matched with."""
    with pytest.raises(ValueError, match="syntax error in pattern"):
        path_match(pattern, "x")


def test_escaped_wildcards_are_none() -> None:
    """A backslash takes the meaning away."""
    assert has_wildcards("a[b") and has_wildcards("?") and not has_wildcards("a\\*b")
