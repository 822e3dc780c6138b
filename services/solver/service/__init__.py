"""Wires the solver: the core's engine, the ports' adapters, and the queue of builds.

`run` is the service's whole interface. Modules: engine (effects → work), progress (who hears what), results (lazy handles),
build (one running build), bridge (its calls), exports, builds (the queue), nested (build ops).
"""

from services.solver.service.run import run

__all__ = ["run"]
