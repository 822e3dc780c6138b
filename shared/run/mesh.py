"""What a service is given: everything shared, already built. Its `run(config, mesh)` builds only its own adapters."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from shared.blobs.ports import Blobs
from shared.bus.calls import Calls
from shared.bus.ports import Bus
from shared.run.certificates import Certificates
from shared.run.clock import Clock, SystemClock
from shared.session.ports import SessionLinks
from shared.telemetry import Log, Metrics, Tracer

BLOBS = "blobs"
"""The part that is up once the fleet's blob store has answered this process. All-in-one, nobody waits for it."""


class Readiness:
    """Whether a process can do its work now. Parts say when they are up; ready means: all of them, and not draining."""

    def __init__(self) -> None:
        self._parts: dict[str, bool] = {}
        self.draining = asyncio.Event()
        self.changed = asyncio.Event()  # set at each change; whoever waits clears it

    def expect(self, part: str) -> None:
        """`part` has to come up first."""
        self._parts.setdefault(part, False)

    def up(self, part: str) -> None:
        """`part` works."""
        self._parts[part] = True
        self.changed.set()

    def down(self, part: str) -> None:
        """`part` doesn't work just now."""
        self._parts[part] = False
        self.changed.set()

    @property
    def ready(self) -> bool:
        return bool(self._parts) and all(self._parts.values()) and not self.draining.is_set()

    async def wait_for(self, parts: Sequence[str]) -> None:
        """Until these are up."""
        while not all(self._parts.get(part, False) for part in parts):
            await self.changed.wait()
            self.changed.clear()

    def drain(self) -> None:
        """Told to stop: nothing new is taken."""
        self.draining.set()
        self.changed.set()

    async def reached(self, part: str) -> bool:
        """Once it is up; False when this process is told to stop before."""
        while not self._parts.get(part, False):
            if self.draining.is_set():
                return False
            await self.changed.wait()
            self.changed.clear()
        return True

    def missing(self) -> list[str]:
        """The parts that are not up, sorted."""
        return sorted(part for part, is_up in self._parts.items() if not is_up)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """Shared by all services of a process. `instance` is unique in the fleet and a safe id: the executor's and gateway's id come from it.

    A service calls `readiness.up("<service>")` once it can be asked, and watches `readiness.draining` to stop taking new work; `calls`
    drains by itself. `state` is this process's folder: a service keeps its own things in a folder of its name
    there. `claims` has the messages that are too large for the bus (`blobs` itself where the store can't tell its users apart).
    `alone` is True in the all-in-one: no other process shares bus and blobs. `certificates`: shown between parts of the fleet.
    """

    instance: str
    bus: Bus
    calls: Calls
    blobs: Blobs
    claims: Blobs
    sessions: SessionLinks
    log: Log
    tracer: Tracer
    metrics: Metrics
    readiness: Readiness
    clock: Clock = field(default_factory=SystemClock)
    state: Path = Path()
    alone: bool = True
    certificates: Certificates | None = None
