"""Session announcements."""

import pytest

from services.gateway.core.sessions import attached, relay_told
from shared.errors import InvalidInput

ID = ("x-docker-expose-session-uuid", "abc")


def test_announcement() -> None:
    """Keys are case-insensitive, methods are lowered."""
    found = attached(
        [
            ID,
            ("X-Docker-Expose-Session-Sharedkey", "k"),
            ("x-docker-expose-session-grpc-method", "/moby.filesync.v1.FileSync/DiffCopy"),
            ("x-docker-expose-session-grpc-method", "/grpc.health.v1.Health/Check"),
            ("x-buildkit-session-health-custom-timeout", "10"),
        ]
    )

    assert (found.id, found.shared_key, found.health_timeout) == ("abc", "k", 1.0)
    assert found.serves("/moby.filesync.v1.filesync/diffcopy")
    assert not found.serves("/moby.filesync.v1.Auth/Credentials")


@pytest.mark.parametrize(
    "metadata",
    [
        [],
        [("x-docker-expose-session-uuid", "../x")],
        [("x-docker-expose-session-uuid", "a b")],
        [ID, ("x-buildkit-session-health-custom-timeout", "1s")],
        [ID, *[("x-docker-expose-session-grpc-method", "/a/b")] * 300],
    ],
)
def test_refused(metadata: list[tuple[str, str]]) -> None:
    """Ids become KV keys; floods and nonsense are refused."""
    with pytest.raises(InvalidInput):
        attached(metadata)


@pytest.mark.parametrize(
    ("relay", "told"),
    [
        ("tcp://0.0.0.0:1235", "tcp://box:1235"),
        ("tcp://[::]:1235", "tcp://box:1235"),
        ("tcp://127.0.0.1:1235", "tcp://127.0.0.1:1235"),
        ("", ""),
    ],
)
def test_a_relay_on_all_addresses_is_told_by_name(relay: str, told: str) -> None:
    assert relay_told(relay, "box") == told
