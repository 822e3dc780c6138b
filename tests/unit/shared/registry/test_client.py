"""What a failed request says."""

import aiohttp
from aiohttp.client_reqrep import ConnectionKey

from shared.registry.client import request_failure

KEY = ConnectionKey("registry.example", 443, True, object(), None, None, None)  # type: ignore[arg-type]


def test_a_failed_connection_is_told_without_objects_of_the_program() -> None:
    error = aiohttp.ClientConnectorError(KEY, OSError(-2, "Name or service not known"))
    assert "0x" in str(error)
    assert request_failure(error) == "cannot connect to registry.example:443: Name or service not known"


def test_other_failures_keep_their_words_or_at_least_their_name() -> None:
    assert request_failure(aiohttp.ServerDisconnectedError()) == "Server disconnected"
    assert request_failure(TimeoutError()) == "TimeoutError"
