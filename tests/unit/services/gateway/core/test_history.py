"""Build history: filters, limits, forgetting."""

import pytest

from services.gateway.core.history import BuildRecord, expired, git_remote, select, status_of
from shared.errors import UserError

S = 10**9
HOUR = 3600 * S
NOW = 1_700_000_000 * S
T0 = NOW - 24 * HOUR

RECORDS = [
    BuildRecord(ref="foo123", created_at=T0, completed_at=T0 + 60 * S),
    BuildRecord(ref="bar456", created_at=T0 + HOUR, frontend_attrs={"context": "https://github.com/user/repo.git#abcdef"}),
    BuildRecord(ref="foo789", created_at=T0 + 2 * HOUR, completed_at=T0 + 2 * HOUR + 600 * S, frontend_attrs={"vcs:source": "testrepo"}),
    BuildRecord(ref="bad", created_at=T0 + 3 * HOUR, completed_at=T0 + 3 * HOUR + S, error=(2, "boom")),
    BuildRecord(ref="stop", created_at=T0 + 4 * HOUR, completed_at=T0 + 4 * HOUR + S, error=(1, "x: context canceled")),
]


@pytest.mark.parametrize(
    ("filters", "limit", "expected"),
    [
        ((), 0, ["foo123", "bar456", "foo789", "bad", "stop"]),
        ((), 2, ["stop", "bad"]),
        (("ref==foo",), 2, []),
        (("ref~=foo",), 2, ["foo789", "foo123"]),
        (("repository==testrepo",), 0, ["foo789"]),
        (("repository==https://github.com/user/repo.git",), 0, ["bar456"]),
        (("status==running",), 0, ["bar456"]),
        (("status==error", "status==canceled"), 0, ["bad", "stop"]),
        (("status==completed,duration>5m",), 0, ["foo789"]),
        (("duration>=1m,duration<10m",), 0, ["foo123"]),
        (("startedAt>21h30m",), 0, ["bad", "stop"]),
        (("startedAt<=2023-11-13T22:13:20Z",), 0, ["foo123"]),
    ],
)
def test_select(filters: tuple[str, ...], limit: int, expected: list[str]) -> None:
    """As BuildKit selects."""
    assert [r.ref for r in select(RECORDS, filters=filters, limit=limit, now=NOW)] == expected


@pytest.mark.parametrize(("filters", "limit"), [(("ref=",), 0), (("duration>x",), 0), (("startedAt>yesterday",), 0), ((), -1)])
def test_bad_filters_are_refused(filters: tuple[str, ...], limit: int) -> None:
    """Each with an error naming the trouble."""
    with pytest.raises(UserError):
        select(RECORDS, filters=filters, limit=limit, now=NOW)


def test_forgotten_are_old_records_beyond_the_newest() -> None:
    """Both conditions, and never a pinned one."""
    records = [BuildRecord(ref=f"r{i}", created_at=i, completed_at=i, pinned=i == 0) for i in range(6)]

    assert [r.ref for r in expired(records, now=10, max_entries=3, max_age=8)] == ["r1"]
    assert expired(records, now=10, max_entries=10, max_age=0) == []


def test_status_names() -> None:
    """The four states."""
    assert [status_of(r) for r in RECORDS] == ["completed", "running", "completed", "error", "canceled"]


@pytest.mark.parametrize(
    ("context", "remote"),
    [
        ("https://h/r.git#main:sub", "https://h/r.git"),
        ("git@h:r.git", "git@h:r.git"),
        ("ssh://git@h/r", "ssh://git@h/r"),
        ("https://h/file.tar", None),
        ("", None),
        ("local", None),
    ],
)
def test_git_remote(context: str, remote: str | None) -> None:
    """Only git contexts have a repository."""
    assert git_remote(context) == remote
