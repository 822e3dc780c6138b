"""Prometheus text."""

from shared.telemetry import Metrics
from shared.telemetry.names import Metric

REQUESTS = Metric("requests_total", "Requests.", ("kind", "status"))
QUEUE = Metric("queue", "Waiting.")
SECONDS = Metric("seconds", "Took.", ("kind",))


def test_the_text() -> None:
    metrics = Metrics()
    metrics.counter(REQUESTS).add(1, "a", "ok")
    metrics.counter(REQUESTS).add(2, "a", "ok")
    metrics.counter(REQUESTS).add(1, 'b"\n\\', "ok")
    metrics.gauge(QUEUE).watch(lambda: 7)
    metrics.histogram(SECONDS).observe(0.02, "x")
    metrics.histogram(SECONDS).observe(1e9, "x")

    text = metrics.render()

    assert '# TYPE requests_total counter\nrequests_total{kind="a",status="ok"} 3\n' in text
    assert 'requests_total{kind="b\\"\\n\\\\",status="ok"} 1\n' in text
    assert "# HELP queue Waiting.\n# TYPE queue gauge\nqueue 7\n" in text
    assert 'seconds_bucket{kind="x",le="0.01"} 0\nseconds_bucket{kind="x",le="0.025"} 1\n' in text
    assert 'seconds_bucket{kind="x",le="+Inf"} 2\nseconds_sum{kind="x"} 1e+09\nseconds_count{kind="x"} 2\n' in text


def test_the_same_metric_is_the_same_object() -> None:
    metrics = Metrics()

    assert metrics.counter(REQUESTS) is metrics.counter(REQUESTS)


def test_a_counter_without_labels_begins_at_zero() -> None:
    metrics = Metrics()
    metrics.counter(QUEUE)

    assert "\nqueue 0\n" in metrics.render()
