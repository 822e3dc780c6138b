"""WWW-Authenticate challenges (RFC 9110 §11.6.1; distribution spec, token authentication)."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_PARAM = re.compile(r'\s*([A-Za-z0-9_-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*(?:,|$)')
_MAX = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """`scheme` is lower case: `bearer` or `basic`."""

    scheme: str
    params: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(headers: Iterable[str]) -> tuple[Challenge, ...]:
    """One challenge per header; Bearer ones first, since registries offer both. What can't be read is skipped."""
    found = []
    for header in headers:
        scheme, _, rest = header[:_MAX].strip().partition(" ")
        if scheme.lower() in ("bearer", "basic"):
            params = {m[1].lower(): re.sub(r"\\(.)", r"\1", m[2]) if m[2] is not None else m[3] for m in _PARAM.finditer(rest)}
            found.append(Challenge(scheme=scheme.lower(), params=params))
    return tuple(sorted(found, key=lambda c: c.scheme != "bearer"))


def repository_scope(repository: str, *actions: str) -> str:
    """`repository:library/busybox:pull,push`."""
    return f"repository:{repository}:{','.join(actions)}"


def merged_scopes(*groups: Iterable[str]) -> tuple[str, ...]:
    """All scopes once, sorted: the key of a cached token."""
    return tuple(sorted({s for group in groups for s in group if s}))
