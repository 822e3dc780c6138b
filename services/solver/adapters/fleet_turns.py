"""Solvers tell each other what waits with them and for whom, so that turns are fair in the whole fleet (adr/0061)."""

import asyncio
import json
from contextlib import suppress
from typing import Any

from services.solver.adapters.admission import Admission
from shared.bus.ports import PubSub
from shared.errors import Unavailable
from shared.model import is_safe_id
from shared.wire import subjects

__all__ = ["FleetTurns"]

TELL = 0.5  # seconds
MOST = 200  # identities of a pool that are told of, those that want most
LARGE = 1 << 20


class FleetTurns:
    """`own` is this solver's id."""

    def __init__(self, own: str, admission: Admission) -> None:
        self._own, self._admission = own, admission

    async def run(self, bus: PubSub) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks, bus.subscribe(subjects.SOLVER_TURNS) as heard:
            tasks.create_task(self._tell(bus), name="turns")
            async for delivery in heard:
                self._hear(delivery.data)

    async def _tell(self, bus: PubSub) -> None:
        """Nothing is said while nothing waits, but once that it is so."""
        said: dict[str, dict[str, int]] = {}
        while True:
            wants = {queue: dict(by.most_common(MOST)) for queue, by in self._admission.wants().items()}
            if wants or said:
                with suppress(Unavailable):
                    await bus.publish(subjects.SOLVER_TURNS, json.dumps({"solver": self._own, "wants": wants}).encode())
            said = wants
            await asyncio.sleep(TELL)

    def _hear(self, data: bytes) -> None:
        """Nonsense is passed over."""
        try:
            said: Any = json.loads(data)
            solver, wants = said["solver"], said["wants"]
            clean = {str(queue): {str(name): _count(number) for name, number in by.items()} for queue, by in wants.items()}
        except (ValueError, TypeError, KeyError, AttributeError):
            return
        if isinstance(solver, str) and solver != self._own and is_safe_id(solver):
            self._admission.hear(solver, clean)


def _count(number: object) -> int:
    if not isinstance(number, int) or not 0 <= number < LARGE:
        raise ValueError(f"no count: {number!r}")
    return number
