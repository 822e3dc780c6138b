"""What an executor counts about its ops."""

import pytest

from services.executor.adapters.op_metrics import OpMetrics
from shared.llb import FileOp, MergeOp
from shared.telemetry import Metrics


def test_ops_are_counted_by_kind_and_end() -> None:
    metrics = Metrics()
    ops = OpMetrics(metrics)

    with ops.running(FileOp(actions=())):
        assert "buildmesh_executor_slots_busy 1" in metrics.render()
    with pytest.raises(ValueError, match="no"), ops.running(MergeOp(inputs=())):
        raise ValueError("no")

    said = metrics.render()
    assert 'buildmesh_ops_total{kind="file",status="success"} 1' in said
    assert 'buildmesh_ops_total{kind="merge",status="failure"} 1' in said
    assert 'buildmesh_op_duration_seconds_count{kind="file"} 1' in said
    assert "buildmesh_executor_slots_busy 0" in said
