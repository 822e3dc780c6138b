"""BuildKit's three metrics, once for each finished build (reference: solver/llbsolver/metrics.go)."""

from services.gateway.core.history import BuildRecord
from shared.errors import Code
from shared.telemetry import Metrics, names


class BuildMetrics:
    """Counted by the gateway that held the build's Solve."""

    def __init__(self, metrics: Metrics) -> None:
        self._builds, self._steps = metrics.counter(names.BUILDS), metrics.counter(names.BUILD_STEPS)
        self._seconds = metrics.histogram(names.BUILD_SECONDS)

    def finished(self, record: BuildRecord) -> None:
        """Labels are few by design: a status, the name of a gRPC code, the kind of a step; no text of anybody's."""
        status = "failure" if record.error else "success"
        self._builds.add(1, status, error_code(record.error[0]) if record.error else "")
        kinds = {
            "completed": record.completed_steps,
            "cached": record.cached_steps,
            "total": record.total_steps,
            "warnings": record.warnings,
        }
        for kind, count in kinds.items():
            self._steps.add(count, kind)
        self._seconds.observe((record.completed_at - record.created_at) / 1e9, status)


def error_code(number: int) -> str:
    """As Go spells it: InvalidArgument."""
    try:
        return Code(number).name.title().replace("_", "")
    except ValueError:
        return f"Code({number})"
