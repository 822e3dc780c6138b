"""BuildKit's three metrics."""

import pytest

from services.gateway.adapters.build_metrics import BuildMetrics
from services.gateway.core.history import BuildRecord
from shared.telemetry import Metrics


def finished(**fields: object) -> str:
    metrics = Metrics()
    BuildMetrics(metrics).finished(BuildRecord(ref="r", created_at=0, completed_at=1_500_000_000, **fields))  # type: ignore[arg-type]
    return metrics.render()


def test_a_success() -> None:
    said = finished(total_steps=4, cached_steps=1, completed_steps=4, warnings=2)

    assert 'buildkit_builds_total{status="success",error_code=""} 1' in said
    for kind, count in (("total", 4), ("cached", 1), ("completed", 4), ("warnings", 2)):
        assert f'buildkit_builds_steps_total{{kind="{kind}"}} {count}' in said
    assert 'buildkit_build_duration_seconds_sum{status="success"} 1.5' in said


@pytest.mark.parametrize(("code", "name"), [(1, "Canceled"), (3, "InvalidArgument"), (99, "Code(99)")])
def test_a_failure_by_the_name_of_its_code_and_without_its_text(code: int, name: str) -> None:
    said = finished(error=(code, "a secret"))

    assert f'buildkit_builds_total{{status="failure",error_code="{name}"}} 1' in said
    assert "a secret" not in said
