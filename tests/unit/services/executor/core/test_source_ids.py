"""Source identifiers from clients."""

import pytest

from services.executor.core.signatures.git_objects import SignatureWish
from services.executor.core.source_ids import GitSource, HttpSource, ImageSource, LocalSource, parse_source
from shared.errors import InvalidInput


def test_images() -> None:
    """Normalized, with mode and limit."""
    source = parse_source("docker-image://busybox:latest", {"image.resolvemode": "pull", "image.layerlimit": "2"})

    assert isinstance(source, ImageSource)
    assert (str(source.reference), source.resolve_mode, source.layer_limit) == ("docker.io/library/busybox:latest", "pull", 2)


def test_locals() -> None:
    """Patterns are JSON lists; null is none."""
    source = parse_source("local://context", {"local.excludepatterns": '["a","!b"]', "local.followpaths": "null", "local.session": "s"})

    assert source == LocalSource(name="context", session="s", exclude=("a", "!b"))


def test_http() -> None:
    """Octal permissions as Go reads them; headers other than two are ignored."""
    attrs = {"http.perm": "0644", "http.uid": "5", "http.header.Accept": "x", "http.header.Cookie": "y"}
    source = parse_source("https://h/p", attrs)

    assert source == HttpSource(url="https://h/p", perm=0o644, uid=5, headers={"accept": "x"})


def test_git() -> None:
    """Fragment and full URL."""
    source = parse_source(
        "git://github.com/a/b.git#main:sub/dir", {"git.fullurl": "ssh://git@github.com/a/b.git", "git.keepgitdir": "true"}
    )

    assert isinstance(source, GitSource)
    assert (source.remote, source.ref, source.subdir, source.keep_git_dir) == ("ssh://git@github.com/a/b.git", "main", "sub/dir", True)


@pytest.mark.parametrize(
    ("identifier", "attrs", "text"),
    [
        ("busybox", {}, "no scheme"),
        ("ftp://x", {}, "unsupported source scheme"),
        ("docker-image://UPPER", {}, "UPPER"),
        ("docker-image://x", {}, "object required"),
        ("oci-layout://x:1", {}, "must have a digest"),
        ("docker-image://x:1", {"image.resolvemode": "maybe"}, "image.resolvemode"),
        ("docker-image://x:1", {"image.layerlimit": "-1"}, "layer limit"),
        ("docker-image://x:1", {"image.layerlimit": "many"}, "layer limit"),
        ("docker-image://x:1", {"image.checksum": "sha256:1"}, "image.checksum"),
        ("docker-image://x:1", {"image.recordtype": "secret"}, "image.recordtype"),
        ("local://", {}, "local source name"),
        ("local://a", {"local.includepattern": '{"a":1}'}, "local.includepattern"),
        ("local://a", {"local.includepattern": "[1]"}, "local.includepattern"),
        ("local://a", {"local.differ": "magic"}, "local.differ"),
        ("http://h", {"http.checksum": "x"}, "http.checksum"),
        ("http://h", {"http.filename": "../x"}, "http.filename"),
        ("http://h", {"http.perm": "99999"}, "http.perm"),
        ("http://h", {"http.uid": "-1"}, "http owner"),
        ("http://h", {"http.header.Accept": "a\r\nX: y"}, "line break"),
        ("git://h/r#--upload-pack=x", {}, "git ref"),
        ("git://h/r", {"git.fullurl": "--evil"}, "git remote"),
        ("git://h/r#a:../..", {}, "git subdir"),
        ("git://h/r", {"git.checksum": "xyz"}, "checksum"),
    ],
)
def test_hostile_ones_are_refused(identifier: str, attrs: dict[str, str], text: str) -> None:
    """The error names the part."""
    with pytest.raises(InvalidInput, match=text):
        parse_source(identifier, attrs)


def test_signatures_that_are_wanted() -> None:
    """Half of a wish is an error: nobody is to believe that something is checked."""
    git = parse_source("git://example.org/x", {"git.sig.pubkey": "key", "git.sig.requiresignedtag": "true", "git.sig.rejectexpired": "1"})
    assert isinstance(git, GitSource)
    assert git.signature == SignatureWish(public_key=b"key", require_tag=True)
    forgotten = parse_source("git://example.org/x", {"git.sig.ignoresignedtag": "true"})
    assert isinstance(forgotten, GitSource)
    assert forgotten.signature == SignatureWish(public_key=b"", ignore_tag=True)
    http = parse_source("https://example.org/x", {"http.sig.pubkey": "key", "http.sig.signature": "s"})
    assert isinstance(http, HttpSource)
    assert (http.public_key, http.signature) == (b"key", b"s")
    with pytest.raises(InvalidInput, match="requires both pubkey and signature"):
        parse_source("https://example.org/x", {"http.sig.pubkey": "key"})
    for empty in ({"http.sig.pubkey": "", "http.sig.signature": ""}, {"http.sig.signature": ""}):
        with pytest.raises(InvalidInput, match="requires both pubkey and signature"):
            parse_source("https://example.org/x", empty)
    with pytest.raises(InvalidInput, match=r"unknown attribute 'http\.sig\.key'"):
        parse_source("https://example.org/x", {"http.sig.pubkey": "key", "http.sig.signature": "s", "http.sig.key": "key"})
    with pytest.raises(InvalidInput, match=r"unknown attribute 'git\.sig\.pubkeys'"):
        parse_source("git://example.org/x", {"git.sig.pubkeys": "key"})
