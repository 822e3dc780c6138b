"""`python -m services.gateway --config FILE`."""

import sys

from services.gateway.config import GatewayConfig
from services.gateway.service import run
from shared.run.process import main

if __name__ == "__main__":
    sys.exit(main("gateway", run, GatewayConfig))
