"""What is remembered of builds: records, what a listing selects, and what is forgotten.

Behaviour: BuildKit solver/llbsolver/history (filter.go, buildhistory.go). Times are ns since the epoch, 0 = not set.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.gateway.core.solve_request import Part, csv_fields
from shared.errors import UserError
from shared.model.filters import parse_filter

MAX_ENTRIES = 50
MAX_AGE = 48 * 3600 * 10**9

LOGS_TYPE = "application/vnd.buildkit.status.v0"
TRACE_TYPE = "application/vnd.buildkit.otlp.json.v0"
ERROR_TYPE = "application/vnd.googeapis.google.rpc.status+proto"  # misspelt in BuildKit too, and clients compare
PROVENANCE_TYPE = "application/vnd.in-toto+json"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"

_TIME_KEYS = ("startedAt", "completedAt", "duration")
_TIME_CLAUSE = re.compile(rf"({'|'.join(_TIME_KEYS)})(>=|<=|>|<)(.*)", re.DOTALL)
_DURATION = re.compile(r"([0-9]*\.?[0-9]+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_SECOND = 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob:
    """A descriptor of something in the blob store; `size` in bytes."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What one platform's result became: attestations, and descriptors by exporter index."""

    attestations: tuple[Blob, ...] = ()
    results: Mapping[int, Blob] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRecord:
    """moby.buildkit.v1.BuildHistoryRecord. `error` = (code, message) of a failed build, its details only in `external_error`."""

    ref: str
    created_at: int
    frontend: str = ""
    frontend_attrs: Mapping[str, str] = field(default_factory=dict)
    exporters: tuple[Part, ...] = ()
    completed_at: int = 0
    error: tuple[int, str] | None = None
    external_error: Blob | None = None
    logs: Blob | None = None
    trace: Blob | None = None
    exporter_response: Mapping[str, str] = field(default_factory=dict)
    result: Outcome | None = None
    results: Mapping[str, Outcome] = field(default_factory=dict)
    generation: int = 0
    pinned: bool = False
    cached_steps: int = 0
    total_steps: int = 0
    completed_steps: int = 0
    warnings: int = 0


Predicate = Callable[[BuildRecord], bool]


def select(records: Iterable[BuildRecord], *, filters: Sequence[str] = (), limit: int = 0, now: int = 0) -> list[BuildRecord]:
    """The records that any filter matches; with `limit` the newest ones. Raises UserError for a bad filter or limit."""
    if limit < 0:
        raise UserError(f"invalid limit {limit}")
    predicates = [_predicate(text, now) for text in filters]
    found = [r for r in records if not predicates or any(p(r) for p in predicates)]
    if not limit:
        return found
    return sorted(found, key=lambda r: r.created_at, reverse=True)[:limit]


def expired(records: Iterable[BuildRecord], *, now: int, max_entries: int = MAX_ENTRIES, max_age: int = MAX_AGE) -> list[BuildRecord]:
    """Those to forget: older than `max_age` ns *and* beyond the newest `max_entries`; pinned ones never."""
    newest_first = sorted((r for r in records if not r.pinned), key=lambda r: r.completed_at, reverse=True)
    return [r for r in newest_first[max_entries:] if now - r.completed_at > max_age]


def blobs_of(record: BuildRecord) -> list[Blob]:
    """Every blob that the record owns (not the exported images)."""
    outcomes = [*record.results.values(), *([record.result] if record.result else [])]
    attestations = [a for o in outcomes for a in o.attestations]
    return [b for b in (record.logs, record.trace, record.external_error, *attestations) if b is not None]


def status_of(record: BuildRecord) -> str:
    """running, completed, canceled or error, as filters name them."""
    if not record.completed_at:
        return "running"
    if record.error is None:
        return "completed"
    return "canceled" if "context canceled" in record.error[1] else "error"


def _predicate(text: str, now: int) -> Predicate:
    """One filter: comma separated clauses that must all match."""
    timed: list[Predicate] = []
    plain: list[str] = []
    for clause in csv_fields(text, what="history filter"):
        found = _TIME_CLAUSE.fullmatch(clause)
        if found is None:
            plain.append(clause)
        else:
            timed.append(_timed(found[1], found[2], found[3], now))
    try:
        parsed = parse_filter([",".join(plain)])
    except ValueError as error:
        raise UserError(f"failed to parse history filters {text[:200]}: {error}") from None
    return lambda record: all(t(record) for t in timed) and parsed.matches(lambda path: _field(record, path))


def _field(record: BuildRecord, path: Sequence[str]) -> str | None:
    match path[0]:
        case "ref":
            return record.ref
        case "status":
            return status_of(record)
        case "repository":
            return record.frontend_attrs.get("vcs:source") or git_remote(record.frontend_attrs.get("context", ""))
    return None


def git_remote(context: str) -> str | None:
    """The repository of a git context, without fragment and query; None for any other context."""
    remote = re.split(r"[#?]", context, maxsplit=1)[0]
    if re.match(r"(https?|ssh|git)://", remote) and (remote.endswith(".git") or remote.startswith(("git://", "ssh://"))):
        return remote
    return remote if re.fullmatch(r"[\w.-]+@[\w.-]+:[^:]+", remote) else None


def _timed(key: str, operator: str, value: str, now: int) -> Predicate:
    bound = _duration(value)
    if key != "duration":
        bound = (now - bound if bound is not None else _moment(value)) // _SECOND
    elif bound is None:
        raise UserError(f"invalid duration {value[:100]}")

    def holds(record: BuildRecord) -> bool:
        found = _measure(record, key)
        match operator:
            case ">=":
                return found >= bound
            case "<=":
                return found <= bound
            case ">":
                return found > bound
        return found < bound

    return holds


def _measure(record: BuildRecord, key: str) -> int:
    match key:
        case "startedAt":
            return record.created_at // _SECOND
        case "completedAt":
            return record.completed_at // _SECOND
    return record.completed_at - record.created_at if record.completed_at else 0


def _duration(text: str) -> int | None:
    """A Go duration (`1h30m`) in ns, None when it is none."""
    body = text.removeprefix("-").removeprefix("+")
    parts = _DURATION.findall(body)
    if not parts or "".join(n + u for n, u in parts) != body or len(body) > 40:
        return 0 if body == "0" else None
    total = sum(int(float(n) * _UNITS[u]) for n, u in parts)
    return -total if text.startswith("-") else total


def _moment(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None or "T" not in text:
            raise ValueError(text)
        return int(moment.timestamp()) * _SECOND
    except (ValueError, OverflowError):
        raise UserError(f"invalid time {text[:100]}") from None
