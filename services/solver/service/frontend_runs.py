"""The runs of frontends in one build: who may ask at its bridge besides the client."""

import hmac
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import Denied

__all__ = ["FrontendRuns"]


class FrontendRuns:
    """Each is known by the unguessable name that went out with its RunFrontend, as long as that call lasts."""

    def __init__(self, build: str) -> None:
        self._build = build
        self._names: set[bytes] = set()

    @contextmanager
    def open(self, name: str) -> Iterator[None]:
        """A frontend runs under this name."""
        key = name.encode()
        self._names.add(key)
        try:
            yield
        finally:
            self._names.discard(key)

    def require(self, name: str) -> None:
        """Raises Denied for a name that is none of a run; how long that takes doesn't tell how near it was."""
        given, known = name.encode(errors="replace"), False
        for key in self._names:
            known |= hmac.compare_digest(key, given)
        if not known:
            raise Denied(f"no frontend runs in build {self._build} under the name that this call gives")
