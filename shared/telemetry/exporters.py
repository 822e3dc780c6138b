"""Where spans go (reference: util/tracing/detect): OTLP over gRPC or HTTP, Jaeger's agent over UDP, or nowhere.

Chosen by OTEL_TRACES_EXPORTER (`otlp`, `jaeger`, `none`), else by what is configured: OTEL_EXPORTER_OTLP_[TRACES_]ENDPOINT, then
JAEGER_TRACE=host:port. Only a chosen exporter's libraries are imported.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from shared.errors import InvalidInput
from shared.telemetry.tracing import Sink, Span

MAX_WAITING = 8192  # spans; older ones are dropped when the collector is away
INTERVAL = 1.0
FLUSH_SECONDS = 5.0


class Exporter(Protocol):
    """Sends finished spans. Raises OSError when the collector can't be reached: the batch is lost then, the build is not."""

    async def send(self, spans: Sequence[Span]) -> None: ...

    async def close(self) -> None: ...


@asynccontextmanager
async def open_exporter(environment: Mapping[str, str]) -> AsyncIterator[tuple[Sink, ...]]:
    """The sinks for a Tracer; none when nothing is configured. What is waiting at the end gets five seconds."""
    exporter = choose(environment)
    if exporter is None:
        yield ()
        return
    async with batched(exporter, INTERVAL) as sink:
        yield (sink,)


@asynccontextmanager
async def batched(exporter: Exporter, interval: float) -> AsyncIterator[Sink]:
    """A sink whose spans are sent every `interval` seconds; the exporter is closed at the end. The oldest go when too many wait."""
    waiting: deque[Span] = deque(maxlen=MAX_WAITING)
    async with asyncio.TaskGroup() as tasks:
        sender = tasks.create_task(_send_all(exporter, waiting, interval), name="span exporter")
        try:
            yield waiting.append
        finally:
            sender.cancel()
            await _flush(exporter, waiting)


async def _send_all(exporter: Exporter, waiting: "deque[Span]", interval: float) -> None:
    while True:
        await asyncio.sleep(interval)
        await _send(exporter, waiting)


async def _send(exporter: Exporter, waiting: "deque[Span]") -> None:
    batch = [waiting.popleft() for _ in range(len(waiting))]
    if not batch:
        return
    try:
        await exporter.send(batch)
    except OSError:
        return  # traces are a courtesy; the collector may come back


async def _flush(exporter: Exporter, waiting: "deque[Span]") -> None:
    try:
        async with asyncio.timeout(FLUSH_SECONDS):
            await _send(exporter, waiting)
            await exporter.close()
    except TimeoutError:
        return


def choose(environment: Mapping[str, str]) -> Exporter | None:
    """The configured exporter. Raises InvalidInput `unsupported opentelemetry exporter X` unless OTEL_IGNORE_ERROR=true."""
    name = environment.get("OTEL_TRACES_EXPORTER", "") or _detected(environment)
    match name:
        case "" | "none":
            return None
        case "otlp":
            from shared.telemetry.otlp import make_exporter

            return make_exporter(environment)
        case "jaeger":
            from shared.telemetry.jaeger import JaegerExporter

            return JaegerExporter.from_environment(environment)
    if environment.get("OTEL_IGNORE_ERROR", "").lower() == "true":
        return None
    raise InvalidInput(f"unsupported opentelemetry exporter {name}")


def _detected(environment: Mapping[str, str]) -> str:
    if environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        return "otlp"
    return "jaeger" if environment.get("JAEGER_TRACE") else ""


def resource_of(environment: Mapping[str, str]) -> dict[str, str]:
    """OTEL_RESOURCE_ATTRIBUTES (`k=v,…`)."""
    pairs = (pair.partition("=") for pair in environment.get("OTEL_RESOURCE_ATTRIBUTES", "").split(","))
    return {key.strip(): value.strip() for key, found, value in pairs if found}


def service_name(environment: Mapping[str, str], service: str) -> str:
    """`buildmesh-solver`; OTEL_SERVICE_NAME replaces the first half."""
    return f"{environment.get('OTEL_SERVICE_NAME') or 'buildmesh'}-{service}"
