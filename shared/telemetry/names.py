"""Every metric's name, help text and labels. buildkit_* are those of buildkitd (reference: solver/llbsolver/metrics.go)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """`name` as Prometheus writes it; `labels` in the order in which values are given."""

    name: str
    help: str
    labels: tuple[str, ...] = ()


BUILDS = Metric("buildkit_builds_total", "Finished builds.", ("status", "error_code"))
BUILD_STEPS = Metric("buildkit_builds_steps_total", "Steps of finished builds.", ("kind",))
BUILD_SECONDS = Metric("buildkit_build_duration_seconds", "How long builds took.", ("status",))

BUILDS_RUNNING = Metric("buildmesh_builds_running", "Builds that run now.")
SESSIONS = Metric("buildmesh_sessions", "Client sessions held now.")
CALLS_ASKED = Metric("buildmesh_calls_asked", "Calls this process waits for now.")
CALLS_SERVED = Metric("buildmesh_calls_served", "Calls this process works on now.")
QUEUE_DEPTH = Metric("buildmesh_queue_depth", "Work of this process that waits in a queue: nobody has taken it.", ("queue",))
QUEUE_OLDEST = Metric("buildmesh_queue_oldest_seconds", "How long the oldest of it has waited.", ("queue",))
BUS_LAG = Metric("buildmesh_bus_lag_seconds", "How long a message to oneself took over the bus, at the last look.")
LOOP_LAG = Metric("buildmesh_loop_lag_seconds", "Worst delay of the event loop since the last look.")

OPS = Metric("buildmesh_ops_total", "Ops run by executors.", ("kind", "status"))
OP_SECONDS = Metric("buildmesh_op_duration_seconds", "How long ops took.", ("kind",))
OP_OVERHEAD = Metric(
    "buildmesh_op_overhead_seconds", "What an op took beyond its own work: to get to an executor, to wait there, to be told."
)
SLOTS = Metric("buildmesh_executor_slots", "Ops that may run at once.")
SLOTS_BUSY = Metric("buildmesh_executor_slots_busy", "Slots in use.")
LEASES = Metric("buildmesh_executor_leases", "Builds that hold snapshots of this executor.")

RUN_CLAIMS = Metric("buildmesh_run_claims", "Steps that some solver has said it runs.")
CACHE_QUESTIONS = Metric("buildmesh_cache_questions_total", "Questions to the cache index.", ("kind", "outcome"))
CACHE_KEYS = Metric("buildmesh_cache_keys", "Keys in the cache index.")
CACHE_RECORDS = Metric("buildmesh_cache_records", "Results in the cache index.")
CACHE_BYTES = Metric("buildmesh_cache_bytes", "Bytes of the layers in the blob store that results in the cache index consist of.")
GC_FREED = Metric("buildmesh_gc_freed_bytes_total", "Bytes freed by prune and garbage collection.", ("cause",))

BLOB_BYTES = Metric("buildmesh_blob_bytes_total", "Bytes moved to and from the blob store.", ("store", "direction"))
BLOB_CALLS = Metric("buildmesh_blob_calls_total", "Operations on the blob store.", ("store", "operation", "outcome"))
EXPORT_SECONDS = Metric("buildmesh_export_duration_seconds", "How long exports took.", ("exporter",))
