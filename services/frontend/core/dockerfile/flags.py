"""Flags of instructions, `--name=value` (instructions/bflag.go)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

from services.frontend.core.failure import DockerfileError


class FlagKind(Enum):
    BOOL = "bool"
    TEXT = "text"
    LIST = "list"


@dataclass(slots=True, kw_only=True)
class Flags:
    """Values by name, of the flags that were given."""

    bools: dict[str, bool] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)

    def text(self, name: str, default: str = "") -> str:
        return self.texts.get(name, default)

    def bool(self, name: str) -> bool:
        return self.bools.get(name, False)

    def list(self, name: str) -> list[str]:
        return self.lists.get(name, [])


NO_FLAGS: dict[str, FlagKind] = {}


def parse_flags(words: Sequence[str], known: dict[str, FlagKind]) -> Flags:
    """Raises DockerfileError for a flag that is unknown, repeated, or has no fitting value."""
    flags = Flags()
    for word in words:
        if word == "--":
            break
        if not word.startswith("--"):
            raise DockerfileError(f"arg should start with -- : {word}")
        flag, has_value, value = word.partition("=")
        name = flag[2:]
        kind = known.get(name)
        if kind is None:
            raise DockerfileError(f"unknown flag: {flag}").suggesting(name, known)
        if kind is not FlagKind.LIST and (name in flags.bools or name in flags.texts):
            raise DockerfileError(f"duplicate flag specified: {flag}")
        _store(flags, flag, kind, value if has_value else None)
    return flags


def _store(flags: Flags, flag: str, kind: FlagKind, value: str | None) -> None:
    name = flag[2:]
    if kind is FlagKind.BOOL:
        flags.bools[name] = _bool(flag, value)
        return
    if value is None:
        raise DockerfileError(f"missing a value on flag: {flag}")
    if kind is FlagKind.TEXT:
        flags.texts[name] = value
    else:
        flags.lists.setdefault(name, []).append(value)


def _bool(flag: str, value: str | None) -> bool:
    if value == "":
        raise DockerfileError(f"missing a value on flag: {flag}")
    match (value or "true").lower():
        case "true":
            return True
        case "false":
            return False
    raise DockerfileError(f"expecting boolean value for flag {flag}, not: {value}")
