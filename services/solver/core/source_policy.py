"""What rules about sources make of one: left as it is, replaced, or denied (sourcepolicy/engine.go, matcher.go, mutate.go).

Regular expressions are asked for, since they come from clients and may take for ever: `reply = yield RegexQuestion(…)`.
"""

import re
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

from shared.errors import BuildFailed
from shared.llb import SourceOp
from shared.llb.policy import AttrConstraint, AttrMatch, MatchType, Policy, PolicyAction, PolicyRule

MAX_MUTATIONS = 20
MAX_REPLACED = 1 << 16
"""Characters of a replacement: each round puts the last one's in again, so that without a bound a few rules fill any memory."""
_DENIED = "source denied by policy"
_PARAMETER = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+)|(\$))")


@dataclass(frozen=True, slots=True, kw_only=True)
class RegexQuestion:
    """Is `pattern` found in `text`; and, with a `template`, `text` with each place where it is replaced by that."""

    pattern: str
    text: str
    template: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegexReply:
    found: bool
    replaced: str = ""


Asking = Generator[RegexQuestion, RegexReply, "SourceOp | None"]
"""Gives the source that takes the place, None for no change."""


def evaluate(policies: Sequence[Policy], source: SourceOp) -> Generator[RegexQuestion, RegexReply, SourceOp]:
    """The source as it has to be. Raises BuildFailed when it is denied, or converted again and again."""
    for _ in range(MAX_MUTATIONS + 1):
        changed: SourceOp | None = None
        for policy in policies:
            changed = yield from _one_policy(policy, source)
            if changed is not None:
                break
        if changed is None:
            return source
        source = changed
    raise BuildFailed("too many mutations on a single source: too many operations")


def _one_policy(policy: Policy, source: SourceOp) -> Asking:
    """Of rules that allow or deny the last one decides; the first one that changes something ends the round."""
    denied = False
    for rule in policy:
        if not (yield from _matches(rule, source)):
            continue
        match rule.action:
            case PolicyAction.ALLOW:
                denied = False
            case PolicyAction.DENY:
                denied = True
            case PolicyAction.CONVERT:
                changed = yield from _converted(rule, source)
                if changed != source:
                    return changed
            case other:
                raise BuildFailed(f'source policy: rule {other} {rule.identifier[:200]}: unknown type "{source.identifier[:200]}"')
    if denied:
        raise BuildFailed(f'source "{source.identifier}" denied by policy: {_DENIED}')
    return None


def _matches(rule: PolicyRule, source: SourceOp) -> Generator[RegexQuestion, RegexReply, bool]:
    for constraint in rule.constraints:
        if not (yield from _holds(constraint, source.attrs.get(constraint.key, ""))):
            return False
    if rule.identifier == source.identifier:
        return True
    match rule.match:
        case MatchType.EXACT:
            return False
        case MatchType.REGEX:
            return (yield RegexQuestion(pattern=rule.identifier, text=source.identifier)).found
        case MatchType.WILDCARD:
            return wildcard_groups(rule.identifier, source.identifier) is not None
        case other:
            raise BuildFailed(f"error matching source policy: unknown match type: {other}")


def _holds(constraint: AttrConstraint, value: str) -> Generator[RegexQuestion, RegexReply, bool]:
    match constraint.condition:
        case AttrMatch.EQUAL:
            return value == constraint.value
        case AttrMatch.NOTEQUAL:
            return value != constraint.value
        case AttrMatch.MATCHES:
            return (yield RegexQuestion(pattern=constraint.value, text=value)).found
        case other:
            raise BuildFailed(f"error matching source policy: unknown attr condition: {other}")


def _converted(rule: PolicyRule, source: SourceOp) -> Generator[RegexQuestion, RegexReply, SourceOp]:
    if rule.update is None:
        raise BuildFailed("error mutating source policy: missing destination for convert rule")
    template = rule.update.identifier or rule.identifier
    identifier = yield from _formatted(rule, source.identifier, template)
    return replace(source, identifier=identifier or source.identifier, attrs={**source.attrs, **rule.update.attrs})


def _formatted(rule: PolicyRule, text: str, template: str) -> Generator[RegexQuestion, RegexReply, str]:
    match rule.match:
        case MatchType.EXACT:
            return template
        case MatchType.REGEX:
            return (yield RegexQuestion(pattern=rule.identifier, text=text, template=template)).replaced
    groups = wildcard_groups(rule.identifier, text)
    return text if groups is None else expand(template, lambda name: _numbered(groups, name))


def _numbered(groups: Sequence[str], name: str) -> str:
    number = int(name) if name.isdigit() and len(name) < 10 else len(groups)
    return groups[number] if number < len(groups) else ""


def wildcard_groups(pattern: str, text: str) -> tuple[str, ...] | None:
    """The whole text and what each `*` stands for, the first ones as long as can be; None when it doesn't match."""
    parts = pattern.split("*")
    if "" in parts[1:-1]:
        raise BuildFailed(f'error matching source policy: failed to translate wildcard "{pattern[:200]}" to regexp: invalid wildcard: "**"')
    if len(parts) == 1:
        return (text,) if text == pattern else None
    if not text.startswith(parts[0]) or not text.endswith(parts[-1]) or len(text) < len(parts[0]) + len(parts[-1]):
        return None
    end, groups = len(text) - len(parts[-1]), []
    for part in reversed(parts[1:-1]):
        at = text.rfind(part, len(parts[0]), end)
        if at < 0:
            return None
        groups.append(text[at + len(part) : end])
        end = at
    return (text, text[len(parts[0]) : end], *reversed(groups))


def expand(template: str, group: Callable[[str], str]) -> str:
    """`$1`, `${1}`, `$name` and `$$` as Go's Regexp.Expand reads them; unknown groups are empty. Raises BuildFailed above MAX_REPLACED."""
    left = MAX_REPLACED - len(_PARAMETER.sub("", template))

    def one(found: re.Match[str]) -> str:
        nonlocal left
        text = "$" if found[3] else group(found[1] or found[2])
        left -= len(text)
        check_room(left)
        return text

    check_room(left)
    return _PARAMETER.sub(one, template)


def check_room(left: int) -> None:
    """Raises BuildFailed when no characters of a replacement are left."""
    if left < 0:
        raise BuildFailed(f"error mutating source policy: a replacement of more than {MAX_REPLACED} characters")
