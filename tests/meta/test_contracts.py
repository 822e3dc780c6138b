"""The import contracts of pyproject.toml hold."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.meta.sources import ROOT


@pytest.mark.slow
def test_import_contracts() -> None:
    """lint-imports finds nothing."""
    tool = Path(sys.prefix) / "bin/lint-imports"
    run = subprocess.run([tool, "--no-cache"], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
