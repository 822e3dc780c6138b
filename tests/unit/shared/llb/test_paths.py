"""Paths as Go's package `path` gives them (its documentation's own examples among them); digests depend on each."""

import posixpath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.llb.paths import base_path, clean_path, is_absolute, join_path, parent_path


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("", "."), (".", "."), ("a/c", "a/c"), ("a//c", "a/c"), ("a/c/.", "a/c"), ("a/c/b/..", "a/c"), ("/../a/c", "/a/c"),
        ("/../a/b/../././/c", "/a/c"), ("//a", "/a"), ("..", ".."), ("../../a", "../../a"), ("a/../..", ".."), ("/", "/"), ("/..", "/"),
    ],
)  # fmt: skip
def test_clean(text: str, clean: str) -> None:
    assert clean_path(text) == clean


@pytest.mark.parametrize(
    ("parts", "joined"),
    [(("a", "b", "c"), "a/b/c"), (("a", "b/c"), "a/b/c"), (("a/b", "../../../xyz"), "../xyz"), (("", ""), ""), (("a", ""), "a"),
     (("", "a"), "a"), (("/", "a"), "/a"), ((), "")],
)  # fmt: skip
def test_join(parts: tuple[str, ...], joined: str) -> None:
    assert join_path(*parts) == joined


@pytest.mark.parametrize(("text", "base"), [("/a/b", "b"), ("/", "/"), ("", "."), ("a/b/", "b"), ("///", "/"), ("a", "a")])
def test_base(text: str, base: str) -> None:
    assert base_path(text) == base


@pytest.mark.parametrize(
    ("text", "parent"), [("/a/b/c", "/a/b"), ("a/b/c", "a/b"), ("/a/", "/a"), ("a/", "a"), ("/", "/"), ("", "."), ("a", "."), ("/a", "/")]
)
def test_parent(text: str, parent: str) -> None:
    assert parent_path(text) == parent


@given(st.text(alphabet="./ab"))
def test_clean_is_stable_and_agrees_with_posix(text: str) -> None:
    """But for `//`, which posix leaves alone."""
    clean = clean_path(text)

    assert clean_path(clean) == clean
    assert is_absolute(clean) == is_absolute(text)
    assert clean == posixpath.normpath("/" + text.lstrip("/") if text.startswith("/") else text)
