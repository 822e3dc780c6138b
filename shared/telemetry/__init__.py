"""Traces, logs, metrics.

Nouns: Tracer (spans, W3C trace context), Log (structured lines on stderr), Metrics (counters, gauges, histograms as Prometheus
text). No OpenTelemetry package is imported unless an exporter is configured (exporters.py); without one a span costs
about a microsecond and still carries valid ids to whoever comes next.
"""

from shared.telemetry.logs import Level, Log, LogFormat
from shared.telemetry.metrics import Counter, Gauge, Histogram, Metrics
from shared.telemetry.tracing import Span, SpanKind, Tracer, build_of, parse_traceparent

__all__ = [
    "Counter",
    "Gauge",
    "Histogram",
    "Level",
    "Log",
    "LogFormat",
    "Metrics",
    "Span",
    "SpanKind",
    "Tracer",
    "build_of",
    "parse_traceparent",
]
