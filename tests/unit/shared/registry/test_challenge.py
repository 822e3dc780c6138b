"""WWW-Authenticate headers."""

from shared.registry.challenge import Challenge, merged_scopes, parse_challenges, repository_scope


def test_bearer_comes_first_and_quotes_are_undone() -> None:
    """Registries that offer both mean the token."""
    found = parse_challenges(['Basic realm="x"', 'Bearer realm="https://a/b?c=d,e",service="s",scope="repository:x:pull,push",error=bad'])

    assert found[0] == Challenge(
        scheme="bearer",
        params={"realm": "https://a/b?c=d,e", "service": "s", "scope": "repository:x:pull,push", "error": "bad"},
    )
    assert found[1].scheme == "basic"


def test_nonsense_is_skipped() -> None:
    """A hostile header is no crash."""
    assert parse_challenges(["", "Negotiate", 'Digest realm="x"', "\x00" * 100_000]) == ()


def test_scopes() -> None:
    """The key of a cached token does not depend on order."""
    assert merged_scopes(["b", "a"], ["a", ""]) == ("a", "b")
    assert repository_scope("x/y", "pull", "push") == "repository:x/y:pull,push"
