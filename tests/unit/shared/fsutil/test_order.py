"""What may follow what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fsutil import mode as modes
from shared.fsutil.order import Validator, check_path
from shared.fsutil.packets import Malformed, Stat


def directory(path: str) -> Stat:
    return Stat(path, modes.DIR | 0o755)


def checked(*stats: Stat) -> None:
    validator = Validator()
    for stat in stats:
        validator.check(stat)


def test_separator_sorts_below_everything() -> None:
    """`a/b` comes before `a.txt` and `a-b`, though `/` is a larger byte."""
    checked(directory("a"), Stat("a/b"), Stat("a-b"), Stat("a.txt"))
    with pytest.raises(Malformed, match="out of order"):
        checked(directory("a"), Stat("a-b"), Stat("a/b"))


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", ".", "..", "a/..", "../a", "a/./b", "a\0b", "x" * 5000])
def test_unclean_paths(path: str) -> None:
    with pytest.raises(Malformed, match="invalid path"):
        check_path(path)


@pytest.mark.parametrize("path", ["a", "..a", "a..", "...", "a/b/.c", "ä", "a\nb", "\udcff"])
def test_odd_but_clean_paths(path: str) -> None:
    check_path(path)


def test_repeated_entry_missing_parent_and_file_as_parent() -> None:
    for stats in ([Stat("a"), Stat("a")], [Stat("a/b")], [Stat("a"), Stat("a/b")]):
        with pytest.raises(Malformed):
            checked(*stats)


def test_hard_links_lead_back_to_files() -> None:
    checked(Stat("a"), Stat("b", linkname="a"))
    for target in ("c", "b", "/etc/passwd", "d"):
        with pytest.raises(Malformed, match="unknown path"):
            checked(Stat("a"), Stat("b", linkname=target), Stat("c"))


@given(st.lists(st.lists(st.sampled_from(["a", "a-", "a.", "b", "é", "\udc80"]), min_size=1, max_size=3), max_size=20))
def test_sorted_by_components_is_valid(paths: list[list[str]]) -> None:
    """Whatever tree: sorted by the bytes of its components it passes."""
    names = {tuple(path[: i + 1]) for path in paths for i in range(len(path))}
    ordered = sorted(names, key=lambda parts: [part.encode("utf-8", "surrogateescape") for part in parts])
    checked(*(directory("/".join(parts)) for parts in ordered))
