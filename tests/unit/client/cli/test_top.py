"""What `buildmesh top` shows of what it was told."""

from client.cli.top import samples, screen
from shared.pb import control_pb2, ops_pb2, worker_pb2

TEXT = """# HELP buildmesh_queue_depth Work that waits.
# TYPE buildmesh_queue_depth gauge
buildmesh_queue_depth{queue="work.exec.default.linux-amd64"} 3
buildmesh_queue_oldest_seconds{queue="work.exec.default.linux-amd64"} 12.5
buildmesh_executor_slots 4
buildmesh_executor_slots_busy 3
buildmesh_builds_running 2
buildmesh_bus_lag_seconds 0.0021
nonsense
buildmesh_calls_asked NaNsense
"""


def worker() -> worker_pb2.WorkerRecord:
    labels = {"buildmesh.slots": "4", "buildmesh.busy": "3", "buildmesh.classes": "default,gpu", "buildmesh.draining": "true"}
    return worker_pb2.WorkerRecord(ID="one", Labels=labels, platforms=[ops_pb2.Platform(OS="linux", Architecture="amd64")])


def test_samples_are_read_by_name_and_first_label() -> None:
    found = samples(TEXT)

    assert found["buildmesh_queue_depth"] == {"work.exec.default.linux-amd64": 3.0}
    assert found["buildmesh_executor_slots"] == {"": 4.0}
    assert "nonsense" not in found
    assert "buildmesh_calls_asked" not in found


def test_builds_executors_services_and_queues_are_shown() -> None:
    build = control_pb2.BuildHistoryRecord(Ref="ref1", Frontend="dockerfile.v0")

    text = screen([build], [worker()], {"http://a": samples(TEXT), "http://b": samples(TEXT)})

    assert text.splitlines()[0] == "builds: 1   executors: 1"
    assert "one       linux/amd64  3/4 draining  default,gpu" in text
    assert "ref1   dockerfile.v0" in text
    assert "http://a  3/4    2" in text
    assert "2.1ms" in text
    assert "work.exec.default.linux-amd64  6        12.5s" in text


def test_without_metrics_there_are_no_services() -> None:
    assert "QUEUE" not in screen([], [worker()], {})
