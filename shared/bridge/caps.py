"""What Ping advertises to those who drive a build: everything the API knows but what is not served yet.

Clients look here before they ask, and leave out or refuse by themselves what is missing. An empty list would make them assume a
server of 2018, so the lists are never empty.
"""

from shared.llb.caps import FRONTEND_CAPS as KNOWN_FRONTEND_CAPS
from shared.llb.caps import LLB_CAPS as KNOWN_LLB_CAPS

NOT_SERVED = (
    "cache.azblob",
    "cache.gha",
    "cache.s3",
    "exec.meta.network.proxy",
    "exec.meta.security.devices",
)
"""Beginnings of names."""


def _served(known: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(cap for cap in known if not cap.startswith(NOT_SERVED))


FRONTEND_CAPS = _served(KNOWN_FRONTEND_CAPS)
LLB_CAPS = _served(KNOWN_LLB_CAPS)
