"""What a source was when a build first looked: for the rest of that build it stays so, whatever the remote does meanwhile."""

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from services.executor.adapters.turns import Turns

V = TypeVar("V")
_KEPT = 2000


class BuildMemory(Generic[V]):
    """Answers by (lease of the build, question). The oldest are forgotten beyond a bound; builds that are over need them no more."""

    def __init__(self, keep: int = _KEPT) -> None:
        self._keep = keep
        self._answers: OrderedDict[tuple[str, str], V] = OrderedDict()
        self._turns: Turns[tuple[str, str]] = Turns()

    async def once(self, lease: str, question: str, ask: Callable[[], Awaitable[V]]) -> V:
        """The answer; equal questions of a build at the same time are asked once. Failures are not remembered."""
        key = (lease, question)
        async with self._turns.alone(key):
            if key not in self._answers:
                self._answers[key] = await ask()
                while len(self._answers) > self._keep:
                    self._answers.popitem(last=False)
            return self._answers[key]

    def statistics(self) -> dict[str, int]:
        """Answers kept, questions under way."""
        return {"answers": len(self._answers), "asking": self._turns.statistics()["keys"]}
