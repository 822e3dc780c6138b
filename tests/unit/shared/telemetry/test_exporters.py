"""Which exporter the environment chooses."""

import pytest

from shared.errors import InvalidInput
from shared.telemetry.exporters import choose, resource_of, service_name
from shared.telemetry.jaeger import JaegerExporter
from shared.telemetry.otlp import GrpcExporter, HttpExporter


@pytest.mark.parametrize(
    ("environment", "kind"),
    [
        ({}, type(None)),
        ({"OTEL_TRACES_EXPORTER": "none", "JAEGER_TRACE": "h:1"}, type(None)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4317"}, GrpcExporter),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://h/t", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, HttpExporter),
        ({"JAEGER_TRACE": "localhost:6831"}, JaegerExporter),
        ({"JAEGER_TRACE": "h:1", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4317"}, GrpcExporter),
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, JaegerExporter),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, GrpcExporter),
        ({"OTEL_TRACES_EXPORTER": "zipkin", "OTEL_IGNORE_ERROR": "true"}, type(None)),
    ],
)
def test_the_choice(environment: dict[str, str], kind: type) -> None:
    assert type(choose(environment)) is kind


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "unsupported opentelemetry exporter zipkin"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "unsupported otlp protocol http/json"),
        ({"JAEGER_TRACE": "nowhere"}, "JAEGER_TRACE"),
    ],
)
def test_bad_choices_are_named(environment: dict[str, str], says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        choose(environment)


def test_resources() -> None:
    assert resource_of({"OTEL_RESOURCE_ATTRIBUTES": "a=1, b = x=y ,broken"}) == {"a": "1", "b": "x=y"}
    assert service_name({}, "solver") == "buildmesh-solver"
    assert service_name({"OTEL_SERVICE_NAME": "ci"}, "solver") == "ci-solver"
