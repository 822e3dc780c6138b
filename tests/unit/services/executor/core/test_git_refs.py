"""What follows from git URLs, refs and ls-remote output."""

import dataclasses

import pytest

from services.executor.core.git_refs import (
    Resolved,
    cache_key,
    check_remote,
    default_branch,
    host_of,
    pick_ref,
    redact,
    resolve_offline,
    secret_names,
    token_scope,
)
from services.executor.core.source_ids import GitSource
from shared.errors import BuildFailed, InvalidInput

A, B, C = "a" * 40, "b" * 40, "c" * 40
SOURCE = GitSource(remote="https://h/r.git")


@pytest.mark.parametrize(
    ("remote", "expected"),
    [("h/r", "https://h/r"), ("ssh://git@h/r", "ssh://git@h/r"), ("git@h:r.git", "git@h:r.git"), ("git://h/r", "git://h/r")],
)
def test_remotes(remote: str, expected: str) -> None:
    """A scheme is added where there is none; scp-like addresses are ssh."""
    assert expected == check_remote(remote)


@pytest.mark.parametrize("remote", ["file:///etc", "ext::sh -c x", "ext://sh", "FILE:///x", "fd://1"])
def test_other_transports_are_refused(remote: str) -> None:
    """Nothing that reads our disk or runs programs."""
    if "://" in remote:
        with pytest.raises(InvalidInput, match="not allowed"):
            check_remote(remote)
    else:
        assert check_remote(remote).startswith("https://")


def test_credentials_are_masked() -> None:
    """User and password never show; hosts do."""
    assert redact("https://u:p@h/r") == "https://xxxxx:xxxxx@h/r"
    assert redact("https://u@h/r") == "https://xxxxx@h/r"
    assert redact("https://h/r") == "https://h/r" and redact("git@h:r") == "git@h:r"
    assert [host_of("https://u:p@h:8080/r"), host_of("git@h:r")] == ["h:8080", "h"]


def test_secrets_and_their_scope() -> None:
    """Those named after the host are tried first; a github token serves all of github, others their own remote only."""
    names = secret_names(SOURCE, SOURCE.remote)

    assert names == [("GIT_AUTH_HEADER.h", False), ("GIT_AUTH_TOKEN.h", True), ("GIT_AUTH_HEADER", False), ("GIT_AUTH_TOKEN", True)]
    assert token_scope("https://github.com/a/b") == "https://github.com/" and token_scope("https://h/r") == "https://h/r"


def test_branch_tag_and_full_name() -> None:
    """A branch wins over a tag of the same name, a whole name over both; an annotated tag tells its commit."""
    both = f"{A}\trefs/heads/x\n{B}\trefs/tags/x\n{C}\trefs/tags/x^{{}}\n"

    assert Resolved(ref="refs/heads/x", checksum=A) == pick_ref(SOURCE, "x", both)
    assert Resolved(ref="refs/tags/x", checksum=B, commit=C) == pick_ref(SOURCE, "refs/tags/x", both)
    assert Resolved(ref="refs/pull/1/head", checksum=A) == pick_ref(SOURCE, "refs/pull/1/head", f"{A}\trefs/pull/1/head\n")
    kept = dataclasses.replace(SOURCE, keep_git_dir=True)
    assert Resolved(ref="refs/tags/x", checksum=B) == pick_ref(kept, "refs/tags/x", both)
    for bad in ("", "zz\trefs/heads/x\n"):
        with pytest.raises(BuildFailed):
            pick_ref(SOURCE, "x", bad)


def test_checksums() -> None:
    """A prefix of the tag or of its commit will do, anything else fails and names both."""
    output = f"{B}\trefs/tags/x\n{C}\trefs/tags/x^{{}}\n"
    for prefix in ("bbbb", "cccc"):
        assert pick_ref(dataclasses.replace(SOURCE, checksum=prefix), "x", output)
    with pytest.raises(BuildFailed, match=f"expected checksum to match dddd, got {B} or {C}"):
        pick_ref(dataclasses.replace(SOURCE, checksum="dddd"), "x", output)


def test_offline() -> None:
    """A commit is known without asking; fetch-by-commit takes the checksum for it."""
    assert Resolved(ref=A, checksum=A) == resolve_offline(dataclasses.replace(SOURCE, ref=A))
    assert resolve_offline(dataclasses.replace(SOURCE, ref="main")) is None
    by_commit = dataclasses.replace(SOURCE, ref="main", fetch_by_commit=True, checksum=A)
    assert Resolved(ref="refs/heads/main", checksum=A) == resolve_offline(by_commit)
    with pytest.raises(BuildFailed, match="expected checksum"):
        resolve_offline(dataclasses.replace(SOURCE, ref=A, checksum="bb"))
    for checksum in ("", "abc"):
        with pytest.raises(InvalidInput, match="fetch-by-commit"):
            resolve_offline(dataclasses.replace(by_commit, checksum=checksum))


def test_cache_keys() -> None:
    """The commit, and everything that changes what comes out."""
    found = Resolved(ref="refs/tags/x", checksum=B, commit=C)
    variants = {
        C: {},
        f"{B}.git#refs/tags/x": {"keep_git_dir": True},
        f"{C}:sub": {"subdir": "sub"},
        f"{C}(skip-submodules)": {"skip_submodules": True},
        f"{C}(mtime=commit)": {"mtime": "commit"},
        f"{C}(bundle)": {"checkout_bundle": True},
    }
    for expected, changes in variants.items():
        assert expected == cache_key(dataclasses.replace(SOURCE, **changes), found)  # type: ignore[arg-type]
    assert cache_key(SOURCE, Resolved(ref=A, checksum=A)) == A


def test_default_branch() -> None:
    """From the symbolic HEAD; one that looks like an option is refused."""
    assert default_branch(f"ref: refs/heads/trunk\tHEAD\n{A}\tHEAD\n", "https://h/r") == "trunk"
    for bad in ("", f"{A}\tHEAD", "ref: refs/heads/-x\tHEAD"):
        with pytest.raises(BuildFailed, match="could not find default branch"):
            default_branch(bad, "https://h/r")
