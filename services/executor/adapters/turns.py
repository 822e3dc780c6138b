"""One user at a time of what has a key, for as long as anybody wants it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

__all__ = ["Turns"]

K = TypeVar("K")


class Turns(Generic[K]):
    """Locks by key; one exists only while somebody holds it or waits for it."""

    def __init__(self) -> None:
        self._locks: dict[K, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def alone(self, key: K) -> AsyncIterator[None]:
        """Nobody else is in a block with this key meanwhile; those who wait come in the order in which they asked."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = (lock, users - 1)

    def statistics(self) -> dict[str, int]:
        """How many keys are held or waited for."""
        return {"keys": len(self._locks)}
