"""URLs of repositories."""

import pytest

from services.frontend.core.failure import DockerfileError
from services.frontend.core.git_url import GitRef, git_context, git_state, parse_git_ref, parse_remote
from shared.llb import Constraints, MarshalDefaults, SourceOp, State, decode_op, marshal
from shared.model import Platform


def source(state: State | None) -> SourceOp:
    assert state is not None
    (data,) = marshal(state, MarshalDefaults(platform=Platform(os="linux", architecture="amd64"))).data.values()
    kind = decode_op(data).kind
    assert isinstance(kind, SourceOp)
    return kind


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("https://x.com/a.git", GitRef(remote="https://x.com/a.git")),
        ("https://x.com/a.git#v1:sub/../dir", GitRef(remote="https://x.com/a.git", ref="v1", subdir="dir")),
        ("HTTP://x.com/a.git", GitRef(remote="http://x.com/a.git")),
        ("git://x.com/a", GitRef(remote="git://x.com/a")),
        ("ssh://git@x.com:22/a", GitRef(remote="ssh://git@x.com:22/a")),
        ("git@x.com:a/b.git#r", GitRef(remote="git@x.com:a/b.git", ref="r")),
        ("git@x.com:a?ref=r&subdir=s", GitRef(remote="git@x.com:a", ref="r", subdir="s")),
        ("github.com/a/b#r", GitRef(remote="github.com/a/b", ref="r", like_local=True)),
        ("https://x.com/a.git?tag=v1&keep-git-dir", GitRef(remote="https://x.com/a.git", ref="refs/tags/v1", keep_git_dir=True)),
        ("https://x.com/a.git?branch=m&submodules=false", GitRef(remote="https://x.com/a.git", ref="refs/heads/m", submodules=False)),
        (
            "https://x.com/a.git?commit=abc&mtime=commit&fetch-by-commit=1",
            GitRef(remote="https://x.com/a.git", checksum="abc", mtime="commit", fetch_by_commit=True),
        ),
    ],
)
def test_repositories_are_recognised(text: str, ref: GitRef) -> None:
    assert parse_git_ref(text) == ref


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "./a.git",
        "../git@x:y",
        "https://x.com/a",
        "ftp://x/a.git",
        "x.com/a.git",
        "https://[::/a.git",
        "https://x:y/a.git",
        "https://a\nb/c.git",
    ],
)
def test_other_things_are_none(text: str) -> None:
    assert parse_git_ref(text) is None


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("foo=1", 'unexpected query "foo"'),
        ("ref=", 'query "ref" has no value'),
        ("ref=a&ref=b", 'query "ref" has multiple values'),
        ("ref=a&tag=b", 'ref conflicts: "a" vs "refs/tags/b"'),
        ("tag=a&branch=b", "branch conflicts with tag"),
        ("submodules=x", 'invalid submodules value: "x"'),
        ("mtime=x", 'invalid mtime value: "x" (must be "checkout" or "commit")'),
    ],
)
def test_bad_parameters_are_named(query: str, message: str) -> None:
    with pytest.raises(DockerfileError) as caught:
        parse_git_ref(f"https://x.com/a.git?{query}")

    assert caught.value.message == message


def test_the_identifier_is_the_same_for_every_way_to_the_repository() -> None:
    texts = ("https://x.com/a/b.git#r:s", "ssh://git@x.com/a/b.git#r:s", "git@x.com:a/b.git#r:s")

    assert {source(git_context(text)).identifier for text in texts} == {"git://x.com/a/b.git#r:s"}


def test_ssh_needs_an_agent_and_options_become_attributes() -> None:
    kind = source(git_state(GitRef(remote="git@x.com:a"), Constraints(), keep_git_dir=True, checksum="c"))

    assert kind.attrs["git.mountsshsock"] == "default"
    assert (kind.attrs["git.keepgitdir"], kind.attrs["git.checksum"], kind.attrs["git.fullurl"]) == ("true", "c", "git@x.com:a")


def test_contexts_without_a_scheme_are_fetched_by_https() -> None:
    assert source(git_context("github.com/a/b")).attrs["git.fullurl"] == "https://github.com/a/b"
    assert git_context("a/b") is None
    remote = parse_remote("https://u:p@x.com:8/a%20b?x=1#f%20g")
    assert remote is not None
    assert (remote.host, remote.path, remote.fragment, remote.address) == ("x.com:8", "/a b", "f g", "https://u:p@x.com:8/a%20b")
