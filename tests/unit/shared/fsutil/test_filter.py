"""Which entries of a tree are sent."""

from __future__ import annotations

import pytest

from shared.fsutil import mode as modes
from shared.fsutil.filter import PathFilter, follow_links, without_covered
from shared.fsutil.packets import Stat

TREE = ["a", "a/b", "a/b/c.go", "a/b/d.txt", "a/e.go", "f", "f/g", "f/g/h.go", "i.go", "j"]
DIRS = {"a", "a/b", "f", "f/g", "j"}


def sent(*, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
    """What is sent, and what was looked at."""
    chosen = PathFilter(include=include, exclude=exclude)
    looked: list[str] = []

    def walk() -> list[Stat]:
        raise AssertionError

    def stats():  # type: ignore[no-untyped-def]
        pruned: list[str] = []
        for path in TREE:
            if any(path.startswith(p + "/") for p in pruned):
                continue
            looked.append(path)
            if not chosen.visit(path, path in DIRS):
                pruned.append(path)
                continue
            yield Stat(path, modes.DIR | 0o755 if path in DIRS else 0o644)

    return [stat.path for stat in chosen.select(stats())], looked


@pytest.mark.parametrize(
    ("include", "exclude", "expected"),
    [
        ((), (), TREE),
        (("i.go",), (), ["i.go"]),
        (("a/b",), (), ["a", "a/b", "a/b/c.go", "a/b/d.txt"]),
        (("**/*.go",), (), ["a", "a/b", "a/b/c.go", "a/e.go", "f", "f/g", "f/g/h.go", "i.go"]),
        (("a", "!a/b"), (), ["a", "a/e.go"]),
        (("a/b/c.go", "f/g/h.go"), (), ["a", "a/b", "a/b/c.go", "f", "f/g", "f/g/h.go"]),
        (("*",), ("a", "f"), ["i.go", "j"]),
        ((), ("a",), ["f", "f/g", "f/g/h.go", "i.go", "j"]),
        ((), ("**/*.go",), ["a", "a/b", "a/b/d.txt", "f", "f/g", "j"]),
        ((), ("*", "!a/e.go"), ["a", "a/e.go"]),
        ((), ("a", "!a/b/d.txt"), ["a", "a/b", "a/b/d.txt", "f", "f/g", "f/g/h.go", "i.go", "j"]),
        ((), ("*", "!**/*.txt"), ["a", "a/b", "a/b/d.txt"]),
        (("a/**",), ("a/b/*.txt",), ["a", "a/b", "a/b/c.go", "a/e.go"]),
    ],
)
def test_selection(include: tuple[str, ...], exclude: tuple[str, ...], expected: list[str]) -> None:
    assert sent(include=include, exclude=exclude)[0] == expected


def test_pruning() -> None:
    """What can't hold a match isn't looked into; patterns with wildcards forbid that."""
    assert "f/g" not in sent(include=("a/b",))[1]
    assert "a/b" not in sent(exclude=("a",))[1]
    assert "a/b" in sent(exclude=("a", "!a/b/d.txt"))[1]
    assert "f/g" in sent(include=("**/h.go",))[1]


def test_bad_pattern() -> None:
    with pytest.raises(ValueError, match="pattern"):
        PathFilter(include=("[",))


LINKS = {"bin": "usr/bin", "usr/bin/sh": "bash", "abs": "/usr/lib", "up": "../../etc", "loop": "loop", "w1": "x", "w2": "y"}
FILES = {"": ["w1", "w2", "v"], "usr/bin": ["sh", "bash"]}


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["plain"], ["plain"]),
        (["bin/sh"], ["bin", "usr/bin/bash", "usr/bin/sh"]),
        (["abs/x"], ["abs", "usr/lib/x"]),
        (["up"], ["etc", "up"]),
        (["loop"], ["loop"]),
        (["w*"], ["w*", "x", "y"]),
        (["a", "a/b"], ["a"]),
        (["/usr/bin/bash", "../x"], ["usr/bin/bash", "x"]),
        (["/"], None),
        (["x/.."], None),
    ],
)
def test_follow_links(paths: list[str], expected: list[str] | None) -> None:
    assert follow_links(paths, LINKS.get, lambda path: FILES.get(path, [])) == expected


def test_without_covered() -> None:
    assert without_covered(["a", "a/b", "b", "b-c"]) == ["a", "b", "b-c"]
