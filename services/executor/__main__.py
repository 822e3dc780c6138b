"""`python -m services.executor --config FILE`."""

import sys

from services.executor.config import ExecutorConfig
from services.executor.service import run
from shared.run.process import main

if __name__ == "__main__":
    sys.exit(main("executor", run, ExecutorConfig))
