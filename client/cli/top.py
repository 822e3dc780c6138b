"""`buildmesh top`: builds, executors and services, now; again and again on a terminal."""

from __future__ import annotations

import argparse
import re
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Final

from client.cli import reach
from client.cli.table import age, table
from client.cli.workers import platform_text
from client.control import Control
from client.progress.steps import seconds
from shared.errors import InvalidInput, Unavailable
from shared.pb import control_pb2, worker_pb2

CLEAR: Final = "\x1b[H\x1b[2J"
SAMPLE: Final = re.compile(r'^(\w+)(?:\{(?:[^"}]*"([^"]*)")?[^}]*\})? (\S+)$')
LARGEST: Final = 4 << 20
"""Bytes of one process's metrics."""

Samples = Mapping[str, Mapping[str, float]]
"""Metric name -> first label's value ("" = none) -> value."""


def configure(parser: argparse.ArgumentParser) -> None:
    reach.configure(parser)
    parser.add_argument("--interval", type=float, default=2.0, metavar="SECONDS", help="between two looks (default: %(default)s)")
    parser.add_argument("--once", action="store_true", help="one look, as when the output is no terminal")
    parser.add_argument(
        "--metrics",
        action="append",
        default=[],
        metavar="URL",
        help="http address of a service ([mesh] http), for its queues, slots and delays (repeatable)",
    )


def run(arguments: argparse.Namespace) -> int:
    def work() -> None:
        with reach.asked(arguments) as daemon:
            while True:
                text = screen(_running(daemon), _workers(daemon), {url: samples(_fetch(url)) for url in arguments.metrics})
                if arguments.once or not sys.stdout.isatty():
                    print(text)
                    return
                print(CLEAR + text, flush=True)
                time.sleep(max(arguments.interval, 0.2))

    return reach.complete(work)


def _running(daemon: Control) -> list[control_pb2.BuildHistoryRecord]:
    request = control_pb2.BuildHistoryRequest(ActiveOnly=True, EarlyExit=True)
    found = {event.record.Ref: event.record for event in daemon.listen("ListenBuildHistory", request, control_pb2.BuildHistoryEvent)}
    return sorted(found.values(), key=lambda r: seconds(r.CreatedAt))


def _workers(daemon: Control) -> list[worker_pb2.WorkerRecord]:
    return list(daemon.ask("ListWorkers", control_pb2.ListWorkersRequest(), control_pb2.ListWorkersResponse).record)


def _fetch(url: str) -> str:
    address = url.rstrip("/") + ("" if url.rstrip("/").endswith("/metrics") else "/metrics")
    if not address.startswith(("http://", "https://")):
        raise InvalidInput(f"--metrics {url}: an address that begins with http:// is wanted")
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            data: bytes = answer.read(LARGEST)
    except (urllib.error.URLError, OSError) as error:
        raise Unavailable(f"{address}: {error}") from None
    return data.decode("utf-8", "replace")


def samples(text: str) -> Samples:
    """Prometheus text as values by name and first label; what is no sample is left out."""
    found: dict[str, dict[str, float]] = {}
    for line in text.splitlines():
        if (match := SAMPLE.match(line)) is not None:
            name, label, value = match.groups()
            try:
                found.setdefault(name, {})[label or ""] = float(value)
            except ValueError:
                continue
    return found


def screen(
    builds: Sequence[control_pb2.BuildHistoryRecord], workers: Sequence[worker_pb2.WorkerRecord], services: Mapping[str, Samples]
) -> str:
    """Everything as one text."""
    parts = [
        f"builds: {len(builds)}   executors: {len(workers)}",
        table([("BUILD", "FRONTEND", "STARTED"), *((b.Ref, b.Frontend or "-", age(seconds(b.CreatedAt))) for b in builds)]),
        table([("EXECUTOR", "PLATFORMS", "SLOTS", "CLASSES"), *map(_worker, workers)]),
    ]
    if services:
        parts.append(table([("SERVICE", "SLOTS", "BUILDS", "ASKED", "SERVED", "BUS", "LOOP"), *(_service(*s) for s in services.items())]))
        queues = [("QUEUE", "WAITING", "OLDEST"), *_queues(services)]
        parts.append(table(queues))
    return "\n\n".join(parts)


def _worker(worker: worker_pb2.WorkerRecord) -> tuple[str, ...]:
    labels = worker.Labels
    state = " draining" if labels.get("buildmesh.draining") == "true" else ""
    slots = f"{labels.get('buildmesh.busy', '?')}/{labels.get('buildmesh.slots', '?')}{state}"
    return worker.ID, ",".join(map(platform_text, worker.platforms)), slots, labels.get("buildmesh.classes", "")


def _service(url: str, found: Samples) -> tuple[str, ...]:
    def of(name: str) -> str:
        values = found.get(f"buildmesh_{name}")
        return "-" if values is None else f"{sum(values.values()):g}"

    def delay(name: str) -> str:
        values = found.get(f"buildmesh_{name}_seconds")
        return "-" if values is None else f"{max(values.values()) * 1000:.1f}ms"

    slots = f"{of('executor_slots_busy')}/{of('executor_slots')}" if "buildmesh_executor_slots" in found else "-"
    return url, slots, of("builds_running"), of("calls_asked"), of("calls_served"), delay("bus_lag"), delay("loop_lag")


def _queues(services: Mapping[str, Samples]) -> list[tuple[str, ...]]:
    """All services together."""
    depth: dict[str, float] = {}
    oldest: dict[str, float] = {}
    for found in services.values():
        for queue, value in found.get("buildmesh_queue_depth", {}).items():
            depth[queue] = depth.get(queue, 0.0) + value
        for queue, value in found.get("buildmesh_queue_oldest_seconds", {}).items():
            oldest[queue] = max(oldest.get(queue, 0.0), value)
    return [(queue, f"{depth[queue]:g}", f"{oldest.get(queue, 0.0):.1f}s") for queue in sorted(depth)]
