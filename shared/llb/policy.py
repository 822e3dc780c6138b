"""pb.Policy (sourcepolicy/pb/policy.proto): rules about sources, as values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from shared.errors import BuildFailed, InvalidInput
from shared.pb import source_policy_pb2 as pb

MAX_RULES = 10_000


class PolicyAction(IntEnum):
    ALLOW = 0
    DENY = 1
    CONVERT = 2


class MatchType(IntEnum):
    WILDCARD = 0
    EXACT = 1
    REGEX = 2


class AttrMatch(IntEnum):
    EQUAL = 0
    NOTEQUAL = 1
    MATCHES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class AttrConstraint:
    """What an attribute of the source must (not) be; `condition` as sent, since an unknown one is an error only when it is met."""

    key: str
    value: str
    condition: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyRule:
    """`action` and `match` as sent. `update` None = the rule converts to nothing."""

    action: int
    identifier: str
    match: int = MatchType.WILDCARD
    constraints: tuple[AttrConstraint, ...] = ()
    update: "PolicyUpdate | None" = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyUpdate:
    identifier: str = ""
    attrs: Mapping[str, str] = field(default_factory=dict)


Policy = tuple[PolicyRule, ...]


def decode_policy(data: bytes) -> Policy:
    """Raises InvalidInput for bytes that are no policy, BuildFailed for a rule that selects nothing."""
    message = pb.Policy()
    try:
        message.ParseFromString(data)
    except Exception as error:  # DecodeError, whichever protobuf implementation is loaded
        raise InvalidInput(f"failed to parse source policy: {error}") from None
    if len(message.rules) > MAX_RULES:
        raise InvalidInput(f"source policy with {len(message.rules)} rules")
    return tuple(_rule(rule) for rule in message.rules)


def _rule(message: pb.Rule) -> PolicyRule:
    if not message.HasField("selector"):
        raise BuildFailed("invalid nil selector in policy")
    selector = message.selector
    return PolicyRule(
        action=message.action,
        identifier=selector.identifier,
        match=selector.match_type,
        constraints=tuple(AttrConstraint(key=c.key, value=c.value, condition=c.condition) for c in selector.constraints),
        update=PolicyUpdate(identifier=message.updates.identifier, attrs=dict(message.updates.attrs))
        if message.HasField("updates")
        else None,
    )
