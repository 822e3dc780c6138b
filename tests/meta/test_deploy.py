"""What deploy/ names exists: metrics of boards and scaling policies, settings of environments."""

import re
from pathlib import Path
from typing import get_type_hints

import pytest

from services.all_in_one import AllConfig
from shared.run.environment import overlaid
from shared.run.settings import build
from shared.telemetry import names
from shared.telemetry.names import Metric
from tests.meta.sources import ROOT

METRIC = re.compile(r"\b(?:buildmesh|buildkit)_[a-z_]+[a-z]\b")
SETTING = re.compile(r"\b(BUILDMESH_[A-Z]+__[A-Z_]+): *(.*)$", re.MULTILINE)
TOLD = {metric.name for metric in vars(names).values() if isinstance(metric, Metric)}
PLACES = [path for pattern in ("*.json", "*.hcl", "*.yaml", "*.yml") for path in sorted((ROOT / "deploy").rglob(pattern))]

ASKING = [path.relative_to(ROOT) for path in PLACES if METRIC.search(path.read_text())]


@pytest.mark.parametrize("path", ASKING, ids=str)
def test_metrics_that_are_asked_for_are_told(path: Path) -> None:
    """A histogram is asked for by its buckets, sum and count."""
    asked = {re.sub(r"_(bucket|sum|count)$", "", name) for name in METRIC.findall((ROOT / path).read_text())}

    assert asked
    assert asked <= TOLD


@pytest.mark.parametrize("name", ["compose.yaml", "laptop.yaml"])
def test_settings_exist(name: str) -> None:
    """Each variable of ours means a field; values that stand there plainly fit it."""
    said = {key: value.partition(" #")[0].strip(" \"'") for key, value in SETTING.findall((ROOT / "deploy/compose" / name).read_text())}
    plain = {key: re.sub(r"\$\{\w+:?[-+]([^}]*)\}", r"\1", value) for key, value in said.items()}

    config = build(AllConfig, overlaid({}, plain, get_type_hints(AllConfig)))

    assert len(said) > 3
    assert config.executor.own_cgroup
