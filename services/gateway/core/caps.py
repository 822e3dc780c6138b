"""What Ping advertises to those who drive a build: everything the API knows but what is not served yet.

An empty list would make clients assume a server of 2018, so the lists are never empty.
"""

from shared.llb.caps import FRONTEND_CAPS as KNOWN_CAPS

_NOT_SERVED = "gateway.exec"

FRONTEND_CAPS: tuple[str, ...] = tuple(c for c in KNOWN_CAPS if not c.startswith(_NOT_SERVED))
"""Without gateway.exec and its kin: containers driven by the client are not served yet, and clients check before they ask."""
