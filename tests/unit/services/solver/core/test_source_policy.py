"""Rules about sources: matching, the order of rules, replacing; and what replacing does to a definition."""

import pytest

from services.solver.core.rewriting import with_sources_replaced
from services.solver.core.source_policy import RegexQuestion, RegexReply, evaluate, expand, wildcard_groups
from shared.errors import BuildFailed
from shared.llb import (
    Constraints,
    MarshalDefaults,
    MkFile,
    SourceOp,
    decode_definition,
    decode_op,
    encode_definition,
    image_source,
    marshal,
    op_digest,
)
from shared.llb.policy import AttrConstraint, AttrMatch, MatchType, PolicyAction, PolicyRule, PolicyUpdate
from shared.llb.state import FileStep
from shared.model import Platform

IMAGE = "docker-image://docker.io/library/alpine:3.18"


def decided(*rules: PolicyRule, source: str = IMAGE, attrs: dict[str, str] | None = None, more: tuple[PolicyRule, ...] = ()) -> SourceOp:
    asking = evaluate([policy for policy in (rules, more) if policy], SourceOp(identifier=source, attrs=attrs or {}))
    try:
        asked = next(asking)
        while True:
            assert isinstance(asked, RegexQuestion)
            asked = asking.send(RegexReply(found="alpine" in asked.text, replaced="replaced"))
    except StopIteration as end:
        found: SourceOp = end.value
        return found


def rule(action: PolicyAction, identifier: str, **more: object) -> PolicyRule:
    return PolicyRule(action=action, identifier=identifier, **more)  # type: ignore[arg-type]


def to(identifier: str = "", **attrs: str) -> PolicyUpdate:
    return PolicyUpdate(identifier=identifier, attrs=attrs)


@pytest.mark.parametrize(
    ("pattern", "text", "groups"),
    [
        ("a*c", "abbc", ("abbc", "bb")),
        ("*", "x", ("x", "x")),
        ("a*b*c", "a1b2b3c", ("a1b2b3c", "1b2", "3")),
        ("*a*", "aaa", ("aaa", "aa", "")),
        ("exact", "exact", ("exact",)),
        ("a*a", "a", None),
        ("a*b*c", "ac", None),
        ("x*", "y", None),
    ],
)
def test_wildcards(pattern: str, text: str, groups: tuple[str, ...] | None) -> None:
    """The first star takes as much as it can."""
    assert wildcard_groups(pattern, text) == groups


def test_two_stars_are_refused() -> None:
    with pytest.raises(BuildFailed, match="invalid wildcard"):
        wildcard_groups("a**", "a")


def test_templates() -> None:
    groups = {"1": "one", "name": "n"}
    assert expand("${1}-$name-$$-$1x-${9}", lambda name: groups.get(name, "")) == "one-n-$--"


def test_the_last_rule_that_matches_decides() -> None:
    allow, deny = rule(PolicyAction.ALLOW, "docker-image://*"), rule(PolicyAction.DENY, "*alpine*")
    assert decided(deny, allow).identifier == IMAGE
    with pytest.raises(BuildFailed, match=f'^source "{IMAGE}" denied by policy: source denied by policy$'):
        decided(allow, deny)
    with pytest.raises(BuildFailed, match="denied by policy"):
        decided(allow, more=(deny,))


def test_conversion_and_what_follows_it() -> None:
    """After a change all rules are looked at again."""
    convert = rule(PolicyAction.CONVERT, "docker-image://docker.io/library/*:*", update=to("docker-image://mirror/${1}:${2}-x", a="b"))
    found = decided(convert)
    assert (found.identifier, found.attrs) == ("docker-image://mirror/alpine:3.18-x", {"a": "b"})
    with pytest.raises(BuildFailed, match="denied"):
        decided(convert, rule(PolicyAction.DENY, "docker-image://mirror/*"))
    assert decided(rule(PolicyAction.CONVERT, IMAGE, match=MatchType.EXACT, update=to(a="b"))).attrs == {"a": "b"}
    assert decided(rule(PolicyAction.CONVERT, "alp", match=MatchType.REGEX, update=to("x"))).identifier == "replaced"


def test_conversion_without_an_end() -> None:
    there = rule(PolicyAction.CONVERT, "a", match=MatchType.EXACT, update=to("b"))
    back = rule(PolicyAction.CONVERT, "b", match=MatchType.EXACT, update=to("a"))
    with pytest.raises(BuildFailed, match="too many mutations"):
        decided(there, back, source="a")


@pytest.mark.parametrize(
    ("condition", "value", "matches"),
    [(AttrMatch.EQUAL, "v", True), (AttrMatch.EQUAL, "w", False), (AttrMatch.NOTEQUAL, "w", True), (AttrMatch.MATCHES, "v", False)],
)
def test_constraints(condition: AttrMatch, value: str, matches: bool) -> None:
    constraint = AttrConstraint(key="k", value=value, condition=condition)
    deny = rule(PolicyAction.DENY, "*", constraints=(constraint,))
    if matches:
        with pytest.raises(BuildFailed):
            decided(deny, attrs={"k": "v"})
    else:
        assert decided(deny, attrs={"k": "v"}).identifier == IMAGE


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (PolicyRule(action=9, identifier="*"), "unknown type"),
        (PolicyRule(action=0, identifier="x", match=9), "unknown match type"),
        (PolicyRule(action=2, identifier="*"), "missing destination for convert rule"),
    ],
)
def test_rules_without_a_meaning(bad: PolicyRule, says: str) -> None:
    with pytest.raises(BuildFailed, match=says):
        decided(bad)


def test_what_stands_on_a_replaced_source_is_renamed() -> None:
    """And says the same as if it had been written so; what is not concerned keeps its bytes."""
    defaults = MarshalDefaults(platform=Platform(os="linux", architecture="amd64"))

    def written(reference: str) -> bytes:
        state = image_source(reference, Constraints()).file([FileStep(action=MkFile(path="/f", data=b"x"))], Constraints())
        return encode_definition(marshal(state, defaults))

    one, other = decode_definition(written("docker.io/library/a:1")), decode_definition(written("docker.io/library/b:1"))
    source = next(digest for digest, op in one.ops.items() if isinstance(op.kind, SourceOp))

    found = with_sources_replaced(one, {source: SourceOp(identifier="docker-image://docker.io/library/b:1")})

    assert (dict(found.data), found.result) == (dict(other.data), other.result)
    assert set(other.data) <= set(found.metadata)
    assert all(op_digest(data) == digest and decode_op(data) for digest, data in found.data.items())
    assert with_sources_replaced(one, {}).data == one.data


def test_a_replacement_that_grows_with_each_round() -> None:
    """Twenty rounds of a thousandfold each would fill any memory."""
    with pytest.raises(BuildFailed, match="a replacement of more than 65536 characters"):
        decided(rule(PolicyAction.CONVERT, "*", update=to("$0" * 1000)))


def test_groups_with_endless_numbers_are_empty() -> None:
    found = decided(rule(PolicyAction.CONVERT, "docker-image://*", match=MatchType.WILDCARD, update=to("https://x/${" + "9" * 5000 + "}")))
    assert found.identifier == "https://x/"
