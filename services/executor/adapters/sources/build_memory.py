"""What a source was when a build first looked: for the rest of that build it stays so, whatever the remote does meanwhile."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

V = TypeVar("V")
_KEPT = 2000


class BuildMemory(Generic[V]):
    """Answers by (lease of the build, question). The oldest are forgotten beyond a bound; builds that are over need them no more."""

    def __init__(self, keep: int = _KEPT) -> None:
        self._keep = keep
        self._answers: OrderedDict[tuple[str, str], V] = OrderedDict()
        self._locks: dict[tuple[str, str], tuple[asyncio.Lock, int]] = {}

    async def once(self, lease: str, question: str, ask: Callable[[], Awaitable[V]]) -> V:
        """The answer; equal questions of a build at the same time are asked once. Failures are not remembered."""
        key = (lease, question)
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                if key not in self._answers:
                    self._answers[key] = await ask()
                    while len(self._answers) > self._keep:
                        self._answers.popitem(last=False)
                return self._answers[key]
        finally:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = (lock, users - 1)

    def statistics(self) -> dict[str, int]:
        """Answers kept, questions under way."""
        return {"answers": len(self._answers), "asking": len(self._locks)}
