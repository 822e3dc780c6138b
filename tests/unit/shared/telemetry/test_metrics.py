"""Prometheus text."""

from shared.telemetry import Metrics
from shared.telemetry.names import Metric

WAITING = Metric("waiting", "Waits.", ("queue",))
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


def test_labelled_values_are_read_when_asked_and_stay_as_zero() -> None:
    """An autoscaler takes a missing value for a fault; a queue that is empty again counts 0."""
    metrics, first, second = Metrics(), {("a",): 3.0}, {("b",): 1.5}
    metrics.gauge(WAITING).watch_labelled(lambda: first)
    metrics.gauge(WAITING).watch_labelled(lambda: second)

    full = metrics.render()
    first.clear()
    empty = metrics.render()

    assert 'waiting{queue="a"} 3\nwaiting{queue="b"} 1.5\n' in full
    assert 'waiting{queue="a"} 0\nwaiting{queue="b"} 1.5\n' in empty
