"""`python -m services.solver --config FILE`."""

import sys

from services.solver.config import SolverConfig
from services.solver.service import run
from shared.run.process import main

if __name__ == "__main__":
    sys.exit(main("solver", run, SolverConfig))
