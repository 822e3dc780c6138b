"""How many containers of drivers an executor has room for: those that clients and frontends open, and frontends from images."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from shared.errors import Exhausted

__all__ = ["Places", "places_of"]

_EACH_SLOT = 16
_LEAST = 64


def places_of(slots: int) -> int:
    """For an executor that runs so many steps at a time: containers of drivers mostly wait."""
    return max(_LEAST, _EACH_SLOT * slots)


class Places:
    """`most` in all, of which one identity may have three quarters, so that it locks nobody out.

    Nobody waits for one: who holds a place may be waiting for a step or for its user, and two who each want another would wait for ever.
    """

    def __init__(self, most: int) -> None:
        self._most, self._each = most, max(most * 3 // 4, 1)
        self._held: Counter[str] = Counter()

    @contextmanager
    def take(self, identity: str) -> Iterator[None]:
        """Inside, a container of this identity runs. Raises Exhausted."""
        if self._held.total() >= self._most:
            raise Exhausted(f"this executor has {self._most} containers of builds already, which is all that it has room for")
        if self._held[identity] >= self._each:
            raise Exhausted(
                f"{identity or 'who is not known'} has {self._each} containers on this executor already, which is all that one may have"
            )
        self._held[identity] += 1
        try:
            yield
        finally:
            self._held[identity] -= 1
            self._held = +self._held
