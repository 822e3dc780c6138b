"""Counters, gauges and histograms, rendered as Prometheus text (exposition format 0.0.4). Names stand in names.py."""

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence

from shared.telemetry.names import Metric

Labels = tuple[str, ...]
MAX_WATCHED = 1000  # label values of one gauge that are kept in mind once they count 0
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)


FAST = (0.0005, 0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0)
"""Bounds of what is hoped to take milliseconds."""


class Counter:
    """Only grows. Label values are given in the order of the metric's labels."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.values: dict[Labels, float] = {} if metric.labels else {(): 0.0}

    def add(self, amount: float = 1.0, *labels: str) -> None:
        """Count `amount` more."""
        self.values[labels] = self.values.get(labels, 0.0) + amount

    def lines(self) -> list[str]:
        """The sample lines."""
        return [f"{self.metric.name}{_braces(self.metric.labels, k)} {v:g}" for k, v in sorted(self.values.items())]


class Gauge(Counter):
    """Goes up and down; `watch` reads it from a function at the time of asking."""

    def __init__(self, metric: Metric) -> None:
        super().__init__(metric)
        self._read: Callable[[], float] | None = None
        self._labelled: list[Callable[[], Mapping[Labels, float]]] = []

    def set(self, value: float, *labels: str) -> None:
        """The value now."""
        self.values[labels] = value

    def watch(self, read: Callable[[], float]) -> None:
        """Ask `read` whenever the metrics are asked for."""
        self._read = read

    def watch_labelled(self, read: Callable[[], Mapping[Labels, float]]) -> None:
        """Ask `read` too, for values by their labels. What was told once and isn't any more counts as 0."""
        self._labelled.append(read)

    def lines(self) -> list[str]:
        """The sample lines."""
        if self._read is not None:
            self.values[()] = self._read()
        if self._labelled:
            self.values = dict.fromkeys(self.values if len(self.values) <= MAX_WATCHED else (), 0.0)
        for labelled in self._labelled:
            self.values.update(labelled())
        return super().lines()


class Histogram:
    """Counts by upper bound."""

    def __init__(self, metric: Metric, bounds: Sequence[float] = SECONDS) -> None:
        self.metric, self._bounds = metric, tuple(bounds)
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def observe(self, value: float, *labels: str) -> None:
        """Count one observation."""
        counts = self._counts.setdefault(labels, [0] * (len(self._bounds) + 1))
        counts[bisect_left(self._bounds, value)] += 1
        self._sums[labels] = self._sums.get(labels, 0.0) + value

    def lines(self) -> list[str]:
        """The sample lines: cumulative buckets, sum, count."""
        out: list[str] = []
        names = (*self.metric.labels, "le")
        for labels, counts in sorted(self._counts.items()):
            total = 0
            for bound, count in zip((*(f"{b:g}" for b in self._bounds), "+Inf"), counts, strict=True):
                total += count
                out.append(f"{self.metric.name}_bucket{_braces(names, (*labels, bound))} {total}")
            out.append(f"{self.metric.name}_sum{_braces(self.metric.labels, labels)} {self._sums[labels]:g}")
            out.append(f"{self.metric.name}_count{_braces(self.metric.labels, labels)} {total}")
        return out


class Metrics:
    """The metrics of one process. Asking for the same metric twice gives the same object, so services may share one."""

    def __init__(self) -> None:
        self._all: dict[str, Counter | Gauge | Histogram] = {}

    def counter(self, metric: Metric) -> Counter:
        """The counter of this name."""
        found = self._all.setdefault(metric.name, Counter(metric))
        assert isinstance(found, Counter)
        return found

    def gauge(self, metric: Metric) -> Gauge:
        """The gauge of this name."""
        found = self._all.setdefault(metric.name, Gauge(metric))
        assert isinstance(found, Gauge)
        return found

    def histogram(self, metric: Metric, bounds: Sequence[float] = SECONDS) -> Histogram:
        """The histogram of this name, in seconds; its bounds are those said at first."""
        found = self._all.setdefault(metric.name, Histogram(metric, bounds))
        assert isinstance(found, Histogram)
        return found

    def render(self) -> str:
        """Everything as Prometheus text."""
        out: list[str] = []
        for name in sorted(self._all):
            instrument = self._all[name]
            kind = type(instrument).__name__.lower()
            out += [f"# HELP {name} {instrument.metric.help}", f"# TYPE {name} {kind}", *instrument.lines()]
        return "\n".join(out) + "\n"


def _braces(names: Sequence[str], values: Sequence[str]) -> str:
    if not values:
        return ""
    return "{" + ",".join(f'{n}="{_escaped(v)}"' for n, v in zip(names, values, strict=True)) + "}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
