"""Image references get one normal form, and nonsense gets a clear refusal."""

import pytest

from shared.oci import parse_reference

_D = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "normal", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox"),
        ("moby/buildkit:v0.32", "docker.io/moby/buildkit:v0.32", "moby/buildkit"),
        ("index.docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("docker.io/library/busybox", "docker.io/library/busybox", "busybox"),
        ("localhost/x", "localhost/x", "localhost/x"),
        ("localhost:5000/a/b:t", "localhost:5000/a/b:t", "localhost:5000/a/b"),
        ("[::1]:5000/a", "[::1]:5000/a", "[::1]:5000/a"),
        ("ghcr.io/o/i@" + _D, "ghcr.io/o/i@" + _D, "ghcr.io/o/i"),
        ("a/b:t@" + _D, "docker.io/a/b:t@" + _D, "a/b"),
        ("Upper/name", "Upper/name", "Upper/name"),
    ],
)
def test_normal_form(text: str, normal: str, familiar: str) -> None:
    """What docker users may leave out is filled in; the familiar name leaves it out again."""
    ref = parse_reference(text)

    assert (normal, familiar) == (str(ref), ref.familiar_name)
    assert parse_reference(normal) == ref


@pytest.mark.parametrize(
    "text",
    [
        "",
        "UPPER",
        "a//b",
        "-a",
        "a:",
        "a:" + "t" * 129,
        "a@sha256:12",
        "a b",
        "a/../b",
        "a" * 64,
        "x/" + "y" * 300,
        "a@b@" + _D,
        "é",
        "a:é",
        "a\n",
    ],
)
def test_refused(text: str) -> None:
    """Anything outside of the grammar raises, never passes through."""
    with pytest.raises(ValueError, match="invalid re"):
        parse_reference(text)


def test_latest_is_added_on_request_only() -> None:
    """A pinned reference gets no tag."""
    assert str(parse_reference("busybox").with_default_tag()) == "docker.io/library/busybox:latest"
    assert parse_reference("busybox@" + _D).with_default_tag().tag == ""
