"""Errors ↔ status."""

from __future__ import annotations

import errno

import pytest

from shared.errors import (
    BuildFailed,
    BuildmeshError,
    Code,
    Denied,
    Exhausted,
    Internal,
    InvalidInput,
    NotFound,
    RefLost,
    Unavailable,
    WorldError,
    solve_detail,
    vertex_detail,
)
from shared.rpc import status
from shared.rpc.status import Status

DETAILS = (vertex_detail("sha256:1"), solve_detail({"inputIDs": ["ä"]}))


@pytest.mark.parametrize(
    "error",
    [
        BuildFailed("exit code: 3", details=DETAILS),
        NotFound("no such job x: é %"),
        InvalidInput(""),
        Denied("no", code=Code.UNAUTHENTICATED),
        Unavailable("x" * 5000),
        WorldError("late", code=Code.DEADLINE_EXCEEDED),
    ],
)
def test_there_and_back(error: BuildmeshError) -> None:
    """Class, code, text and details survive the trailers."""
    fields = status.to_trailers(status.status_of(error))
    again = status.error_of(status.from_trailers(fields) or status.OK)

    assert (type(again), again.message, again.status_code, again.details) == (
        type(error),
        error.message,
        error.status_code,
        error.details,
    )


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (TimeoutError(), Code.DEADLINE_EXCEEDED, "deadline"),
        (OSError(errno.ENOSPC, "No space left"), Code.RESOURCE_EXHAUSTED, "No space"),
        (OSError(errno.EIO, "Input/output error"), Code.INTERNAL, "Input"),
        (KeyError("a secret"), Code.INTERNAL, "KeyError"),
        (AssertionError("a secret"), Code.INTERNAL, "AssertionError"),
        (RefLost("r1"), Code.INTERNAL, "r1"),
        (Exhausted("quota"), Code.RESOURCE_EXHAUSTED, "quota"),
        (Internal("broken"), Code.INTERNAL, "broken"),
    ],
)
def test_other_errors(error: Exception, code: Code, text: str) -> None:
    told = status.status_of(error)
    assert told.code is code
    assert text in told.message
    assert "a secret" not in told.message


def test_an_error_is_never_ok() -> None:
    assert status.status_of(BuildmeshError("odd", code=Code.OK)).code is Code.UNKNOWN


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([], None),
        ([(b"grpc-status", b"0")], Status(code=Code.OK)),
        ([(b"grpc-status", b"99")], Status(code=Code.UNKNOWN)),
        ([(b"grpc-status", b"x")], Status(code=Code.UNKNOWN)),
        ([(b"grpc-status", b"5"), (b"grpc-status-details-bin", b"!!")], Status(code=Code.NOT_FOUND)),
        ([(b"grpc-status", b"5"), (b"grpc-status-details-bin", b"AQI")], Status(code=Code.NOT_FOUND)),
    ],
)
def test_odd_trailers(fields: list[tuple[bytes, bytes]], expected: Status | None) -> None:
    assert status.from_trailers(fields) == expected


def test_http_statuses() -> None:
    assert status.from_http(b"503").code is Code.UNAVAILABLE
    assert status.from_http(b"404").code is Code.UNIMPLEMENTED
    assert status.from_http(b"418").code is Code.UNKNOWN
