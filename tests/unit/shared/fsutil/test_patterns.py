"""Patterns decide as moby/patternmatcher does (cases after its table and the .dockerignore documentation)."""

import pytest

from shared.fsutil import PatternMatcher


@pytest.mark.parametrize(
    ("patterns", "path", "expected"),
    [
        (["*.go"], "a.go", True),
        (["*.go"], "d/a.go", False),
        (["**/*.go"], "d/e/a.go", True),
        (["**/*.go"], "a.go", True),
        (["dir"], "dir/x/y", True),
        (["dir/"], "dir/x", True),
        (["dir*"], "dir1/x", True),
        (["./dir"], "dir", True),
        (["**"], "any/thing", True),
        (["a/**"], "a/b/c", True),
        (["a/**"], "ab", False),
        (["a/**/z"], "a/z", True),
        (["a/**/z"], "a/b/c/z", True),
        (["**/z"], "xz", False),
        (["**/z"], "x/z", True),
        (["*", "!keep"], "keep", False),
        (["*", "!keep"], "other", True),
        (["docs", "!docs/README.md"], "docs/README.md", False),
        (["docs", "!docs/README.md", "docs/README*"], "docs/README.md", True),
        (["a?c"], "abc", True),
        (["a?c"], "a/c", False),
        (["[a-c]x"], "bx", True),
        (["[^a-c]x"], "bx", False),
        (["a.b"], "axb", False),
        (["\\*"], "*", True),
        (["\\*"], "x", False),
        (["a+b(c)|{d}$"], "a+b(c)|{d}$", True),
        ([""], "a", False),
        (["  x  "], "x", True),
        (["é*"], "été", True),
        (["!x"], "y", False),
    ],
)
def test_table(patterns: list[str], path: str, expected: bool) -> None:
    """Whether a path, or one of its parents, is covered."""
    assert PatternMatcher(patterns).matches(path) is expected


@pytest.mark.parametrize("pattern", ["[", "[]", "[a", "[a-]", "[-a]", "!", "a[\\"])
def test_malformed(pattern: str) -> None:
    """A pattern that path.Match would refuse is refused."""
    with pytest.raises(ValueError, match="pattern"):
        PatternMatcher([pattern])


def test_parent_results_carry_matches_down() -> None:
    """An entry below a matched directory matches, unless a later exception names it."""
    matcher = PatternMatcher(["docs", "!docs/keep"])
    _, docs = matcher.match_with_parent("docs", ())

    assert matcher.match_with_parent("docs/x", docs)[0]
    assert not matcher.match_with_parent("docs/keep", docs)[0]
    with pytest.raises(ValueError, match="wrong number"):
        matcher.match_with_parent("docs/x", (True,))
