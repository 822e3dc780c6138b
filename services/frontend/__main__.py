"""`python -m services.frontend --config FILE`."""

import sys

from services.frontend.config import FrontendConfig
from services.frontend.service import run
from shared.run.process import main

if __name__ == "__main__":
    sys.exit(main("frontend", run, FrontendConfig))
