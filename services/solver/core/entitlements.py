"""Which privileges a build may use: the daemon's list first, then what the request was granted (util/entitlements)."""

from collections.abc import Collection, Iterable

from shared.errors import BuildFailed

KNOWN = ("network.host", "security.insecure", "device")


def grant(requested: Iterable[str], supported: Collection[str]) -> tuple[str, ...]:
    """The requested entitlements, once each. Raises BuildFailed for unknown ones and for those the daemon does not allow."""
    granted: dict[str, None] = {}
    for entry in requested:
        name = entry.partition("=")[0]
        if name not in KNOWN:
            raise BuildFailed(f"unknown entitlement {entry[:100]}")
        if name not in supported:
            raise BuildFailed(f"granting entitlement {name} is not allowed by build daemon configuration")
        granted[entry] = None
    return tuple(granted)
