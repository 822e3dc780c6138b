"""Wires the executor: snapshots, sources, op runners; pulls work, answers calls, tells that it is there.

`run` is the service's whole interface. run.py opens the snapshots and announces the executor at once, so that clients who ask for workers
need not wait; serving.py, with everything that does work, is loaded after that.
"""

from services.executor.service.run import run

__all__ = ["run"]
