"""What a failed request says."""

import asyncio

import aiohttp
import pytest
from aiohttp.client_reqrep import ConnectionKey

from shared.errors import NotFound, Unavailable
from shared.registry.failures import request_failure, wire_failures

KEY = ConnectionKey("registry.example", 443, True, object(), None, None, None)  # type: ignore[arg-type]


def test_a_failed_connection_is_told_without_objects_of_the_program() -> None:
    error = aiohttp.ClientConnectorError(KEY, OSError(-2, "Name or service not known"))
    assert "0x" in str(error)
    assert request_failure(error) == "cannot connect to registry.example:443: Name or service not known"


def test_other_failures_keep_their_words_or_at_least_their_name() -> None:
    assert request_failure(aiohttp.ServerDisconnectedError()) == "Server disconnected"
    assert request_failure(TimeoutError()) == "TimeoutError"


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (aiohttp.ServerDisconnectedError(), "Server disconnected"),
        (TimeoutError(), "TimeoutError"),
        (ConnectionResetError(104, "reset"), "[Errno 104] reset"),
    ],
)
def test_failures_on_the_way_are_unavailable(error: Exception, why: str) -> None:
    with pytest.raises(Unavailable) as raised, wire_failures("GET x"):
        raise error
    assert raised.value.message == f"GET x: {why}"

    class Retried(Unavailable): ...

    with pytest.raises(Retried) as retried, wire_failures(kind=Retried):
        raise error
    assert retried.value.message == why


def test_other_errors_pass() -> None:
    """What is not of the wire is somebody else's: also a cancellation."""
    for error in (ValueError("x"), NotFound("y"), asyncio.CancelledError()):
        with pytest.raises(type(error)), wire_failures("GET x"):
            raise error
