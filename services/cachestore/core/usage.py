"""Which records a filter of `du` or `prune` means (semantics: cache/manager.go adaptUsageInfo of BuildKit)."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.cachestore.core.gc_policy import Record
from shared.errors import InvalidInput
from shared.model.filters import Filter, parse_filter


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A record with what only filters look at."""

    record: Record
    description: str = ""
    mutable: bool = False


def usage_filter(expressions: Sequence[str]) -> Filter:
    """Raises InvalidInput naming the expression."""
    try:
        return parse_filter(expressions)
    except ValueError as error:
        raise InvalidInput(f"failed to parse prune filters {list(expressions)}: {error}"[:1000]) from None


def field_of(item: Described, path: Sequence[str]) -> str | None:
    """The value at a field path; "" for the fields that are only present or absent."""
    record = item.record
    match list(path):
        case ["id"]:
            return record.id
        case ["parents"]:
            return ";".join(record.parents)
        case ["description"]:
            return item.description
        case ["type"]:
            return record.record_type or "regular"
        case ["inuse"]:
            return "" if record.in_use else None
        case ["mutable"]:
            return "" if item.mutable else None
        case ["immutable"]:
            return None if item.mutable else ""
        case ["shared"]:
            return "" if record.shared else None
        case ["private"]:
            return None if record.shared else ""
    return None


def means(chosen: Filter, item: Described) -> bool:
    """Whether the filter matches."""
    return chosen.matches(lambda path: field_of(item, path))
