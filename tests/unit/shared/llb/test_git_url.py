"""URLs of repositories as materials (their parts are tested where contexts are made: services/frontend/core/git_url)."""

import pytest

from shared.llb.git_url import git_identifier, git_material


@pytest.mark.parametrize(
    ("text", "with_subdir", "without"),
    [
        ("https://example.org/x.git#v1:sub/dir", "https://example.org/x.git#v1:sub/dir", "https://example.org/x.git#v1"),
        ("https://example.org/x.git?branch=b", "https://example.org/x.git#refs/heads/b", "https://example.org/x.git#refs/heads/b"),
        ("https://example.org/x.git#:sub", "https://example.org/x.git#:sub", "https://example.org/x.git"),
        ("git@example.org:x/y", "git@example.org:x/y", "git@example.org:x/y"),
    ],
)
def test_a_repository_is_named_by_remote_ref_and_folder(text: str, with_subdir: str, without: str) -> None:
    assert git_material(text, subdir=True) == (with_subdir, True)
    assert git_material(text, subdir=False) == (without, True)


@pytest.mark.parametrize("text", ["https://example.org/file", "./x", "", "https://example.org/x.git?what=1"])
def test_anything_else_stays(text: str) -> None:
    assert git_material(text, subdir=True) == (text, False)


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("github.com/user/repo.git#main:../absolute/path", "", "git://github.com/user/repo.git#main:absolute/path"),
        ("example.org/x", "", "git://example.org/x"),
        ("example.org/x#:", "", "git://example.org/x"),
        ("example.org/a/../x#v1", "", "git://example.org/x#v1"),
        ("me@example.org/x#:sub/", "", "git://example.org/x#:sub"),
        ("git@example.org:x.git#v1", "", "git://example.org/x.git#v1"),
        ("evil.example/x#v1", "ssh://git@example.org:22/x.git", "git://example.org:22/x.git#v1"),
        ("evil.example/x#v1", "git@example.org:x.git", "git://example.org/x.git#v1"),
        ("a b/x", "", "git://a b/x"),
    ],
)
def test_one_form_of_an_identifier(text: str, address: str, shown: str) -> None:
    assert git_identifier(text, address) == shown
