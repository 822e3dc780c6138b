"""How a process runs: the Mesh that a service is given, configuration, health, signals, drain, clock, ids, single flight.

A service's whole interface is `async def run(config, mesh: Mesh) -> None`. `open_mesh` builds the Mesh from URLs (backends.py),
`serve_process` (process.py) is what every `__main__` calls. Only this floor and `__main__` modules read the environment.
"""

from shared.run.clock import Clock, FixedClock, SystemClock
from shared.run.flight import Flight
from shared.run.ids import new_id
from shared.run.mesh import Mesh, Readiness

__all__ = ["Clock", "FixedClock", "Flight", "Mesh", "Readiness", "SystemClock", "new_id"]
