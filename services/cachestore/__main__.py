"""`python -m services.cachestore --config FILE`."""

import sys

from services.cachestore.config import CachestoreConfig
from services.cachestore.service import run
from shared.run.process import main

if __name__ == "__main__":
    sys.exit(main("cachestore", run, CachestoreConfig))
