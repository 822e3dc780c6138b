"""Limits of a RUN: ulimits and cgroup resources (docker/go-units ulimit.go, frontend/dockerui/attr.go, util/cpuset)."""

from collections.abc import Mapping

from services.frontend.core.failure import DockerfileError
from services.frontend.core.go_text import SPACE, parse_int, parse_uint
from shared.llb import Resources, Ulimit
from shared.llb.go_text import quote

_ULIMITS = frozenset(
    (
        "core",
        "cpu",
        "data",
        "fsize",
        "locks",
        "memlock",
        "msgqueue",
        "nice",
        "nofile",
        "nproc",
        "rss",
        "rtprio",
        "rttime",
        "sigpending",
        "stack",
    )
)
_MAX_CPU = 8192


def parse_ulimit(text: str) -> Ulimit:
    """`name=soft[:hard]`; -1 is without limit."""
    name, found, values = text.partition("=")
    if not found:
        raise DockerfileError(f"invalid ulimit argument: {text}")
    if name not in _ULIMITS:
        raise DockerfileError(f"invalid ulimit type: {name}")
    parts = values.split(":")
    if len(parts) > 2:
        raise DockerfileError(f"too many limit value arguments - {values}, can only have up to two, `soft[:hard]`")
    hard = parse_int(parts[1]) if len(parts) == 2 else None
    soft = parse_int(parts[0])
    hard = soft if hard is None else hard
    if hard != -1:
        complaint = "ulimit soft limit must be less than or equal to hard limit"
        if soft == -1:
            raise DockerfileError(f"{complaint}: soft: -1 (unlimited), hard: {hard}")
        if soft > hard:
            raise DockerfileError(f"{complaint}: {soft} > {hard}")
    return Ulimit(name=name, soft=soft, hard=hard)


def parse_resources(raw: Mapping[str, str]) -> Resources | None:
    """None when no limit is given."""
    resources = Resources(
        memory=_positive(raw, "memory"),
        memory_swap=_swap(raw),
        cpu_shares=_unsigned(raw, "cpushares"),
        cpu_period=_unsigned(raw, "cpuperiod"),
        cpu_quota=_positive(raw, "cpuquota"),
        cpuset_cpus=_cpuset(raw, "cpusetcpus"),
        cpuset_mems=_cpuset(raw, "cpusetmems"),
    )
    return None if resources == Resources() else resources


def _int(raw: Mapping[str, str], key: str) -> int | None:
    text = raw.get(key, "")
    if not text:
        return None
    try:
        return parse_int(text)
    except DockerfileError as error:
        raise error.prefixed(f"invalid {key} value: {text}") from None


def _positive(raw: Mapping[str, str], key: str) -> int:
    value = _int(raw, key)
    if value is not None and value <= 0:
        raise DockerfileError(f"invalid {key} value: {raw[key]}: must be > 0")
    return value or 0


def _swap(raw: Mapping[str, str]) -> int:
    value = _int(raw, "memswap")
    if value is not None and (value < -1 or value == 0):
        raise DockerfileError(f"invalid memswap value: {raw['memswap']}: must be -1 (unlimited) or > 0")
    return value or 0


def _unsigned(raw: Mapping[str, str], key: str) -> int:
    text = raw.get(key, "")
    if not text:
        return 0
    value = parse_uint(text)
    if value is None:
        raise DockerfileError(f"invalid {key} value: {text}: strconv.ParseUint: parsing {quote(text)}: invalid syntax")
    if value == 0:
        raise DockerfileError(f"invalid {key} value: {text}: must be > 0")
    return value


def _cpuset(raw: Mapping[str, str], key: str) -> str:
    text = raw.get(key, "")
    for part in text.split(","):
        problem = _cpuset_problem(part.strip(SPACE))
        if problem:
            raise DockerfileError(f"invalid {key} value: {text}: {problem}")
    return text


def _cpuset_problem(part: str) -> str:
    if not part:
        return ""
    low, is_range, high = part.partition("-")
    numbers = [parse_uint(low.strip(SPACE), 10, 31), parse_uint((high if is_range else low).strip(SPACE), 10, 31)]
    what = "range" if is_range else "element"
    first, last = numbers
    if first is None or last is None or last < first:
        return f"invalid cpuset {what} {quote(part)}"
    return f"cpuset {what} {quote(part)} exceeds maximum {_MAX_CPU}" if last > _MAX_CPU else ""
