"""`python -m services.exporter --config FILE`."""

import sys

from services.exporter.config import ExporterConfig
from services.exporter.service import run
from shared.run.process import main

if __name__ == "__main__":
    sys.exit(main("exporter", run, ExporterConfig))
