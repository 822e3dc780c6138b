"""A fleet as operators see it: one trace of a build in Jaeger, metrics in Prometheus, the board's questions answered, logs, the record."""

import json
import time
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.compose.conftest import FOLDER, Fleet
from tests.e2e.conftest import context_in
from tests.kit.clients import Buildctl, Buildx
from tests.kit.oci_layout import Layout

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(900)]  # the first of them builds an image and starts a fleet

BOARD = FOLDER / "grafana/boards/buildmesh.json"
SERVICES = {f"buildmesh-{name}" for name in ("gateway", "frontend", "solver", "executor", "exporter", "cachestore")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A build that ended well. `word` stands in the names of its spans."""

    word: str
    ref: str


def build(fleet: Fleet, busybox_layout: Path, folder: Path, env: Mapping[str, str]) -> Seen:
    """One build by a client with this environment."""
    options = [
        f"--oci-layout=busybox={busybox_layout}",
        f"--opt=context:busybox=oci-layout://busybox@{Layout.digest(busybox_layout, 'latest')}",
        f"--ref-file={folder}/ref",
    ]
    word = f"echo {folder.name}"
    client = Buildctl(addr=fleet.addr, work=folder / "work", env=env)
    context = context_in(folder)(f"FROM busybox AS make\nRUN {word} > /out\nFROM scratch\nCOPY --from=make /out /\n")
    client.build(context, *options, f"--output=type=local,dest={folder}/out")
    return Seen(word=word, ref=(folder / "ref").read_text().strip())


@pytest.fixture(scope="module")
def built(fleet: Fleet, busybox_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """By a client that tells Jaeger by thrift over UDP."""
    return build(fleet, busybox_layout, tmp_path_factory.mktemp("seen"), {"JAEGER_TRACE": fleet.udp})


def test_one_trace_over_the_client_and_all_services(fleet: Fleet, built: Seen) -> None:
    """The client's spans came over thrift and UDP, the services' over OTLP; all say the same trace, and which build it is."""
    trace = whole_trace(fleet, built)

    assert {tag["value"] for span in trace["spans"] for tag in span["tags"] if tag["key"] == "build"} == {built.ref}


def test_one_trace_when_the_client_speaks_otlp(fleet: Fleet, busybox_layout: Path, tmp_path: Path) -> None:
    [jaeger] = fleet.compose.containers("jaeger")
    collector = f"http://{jaeger.address('_mesh')}:4317"

    whole_trace(
        fleet, build(fleet, busybox_layout, tmp_path, {"OTEL_EXPORTER_OTLP_ENDPOINT": collector, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    )


def whole_trace(fleet: Fleet, seen: Seen) -> Any:
    """The trace of a build in Jaeger, once the client and all services have told it what they did."""
    deadline = time.monotonic() + 15
    found: set[str] = set()
    while True:
        traces = get(f"{fleet.jaeger}/api/traces?service=buildctl&lookback=1h&limit=50")["data"]
        own = [trace for trace in traces if any(seen.word in span["operationName"] for span in trace["spans"])]
        found = {process["serviceName"] for trace in own for process in trace["processes"].values()}
        if found >= {"buildctl", *SERVICES}:
            [trace] = own
            return trace
        assert time.monotonic() < deadline, f"the trace has spans of {sorted(found)} only"
        time.sleep(0.3)


def test_buildx_shows_the_trace_on_record(fleet: Fleet, built: Seen, tmp_path: Path) -> None:
    """Without asking Jaeger. (On a terminal it serves the same data to a browser.)"""
    said = Buildx(addr=fleet.addr, work=tmp_path).call("history", "trace", built.ref)
    [trace] = json.loads(said[said.index("{") :])["data"]

    assert {process["serviceName"] for process in trace["processes"].values()} >= SERVICES


def test_the_build_stands_in_the_logs_of_all_services(fleet: Fleet, built: Seen) -> None:
    """JSON, line by line; under the build's ref each names the same trace."""
    deadline = time.monotonic() + 10
    while True:
        lines = {name: logged(fleet, name) for name in SERVICES}
        traces = {name: {line["traceID"] for line in told if line.get("build") == built.ref} for name, told in lines.items()}
        if all(traces.values()):
            break
        assert time.monotonic() < deadline, f"not told: {[name for name, found in traces.items() if not found]}"
        time.sleep(0.3)
    ended = [line for line in lines["buildmesh-gateway"] if line.get("build") == built.ref and line["msg"] == "a build has ended"]

    assert len(set.union(*traces.values())) == 1
    assert [(line["error"], line["steps"] >= 3) for line in ended] == [("", True)]


def logged(fleet: Fleet, service: str) -> list[dict[str, Any]]:
    """A service's log; each of its lines is an object with time, level and message, and says whose it is."""
    name = service.removeprefix("buildmesh-")
    found = [json.loads(line) for line in fleet.compose.call("logs", "--no-color", "--no-log-prefix", name).splitlines()]
    assert all(line.keys() >= {"time", "level", "msg"} for line in found)
    assert {line["service"] for line in found if "build" in line} <= {name}
    return found


def test_every_process_is_scraped(prometheus: str) -> None:
    """Found by Docker's DNS, labelled with the service."""
    deadline = time.monotonic() + 30
    seen: set[str] = set()
    while seen != {name.removeprefix("buildmesh-") for name in SERVICES}:
        assert time.monotonic() < deadline, f"only {sorted(seen)} answer"
        time.sleep(0.3)
        seen = {row["metric"]["service"] for row in ask(prometheus, "up == 1")}


def test_each_question_of_the_board_is_answered(prometheus: str, built: Seen) -> None:
    """Prometheus takes every query, and after a build each one has something to show."""
    questions = [target["expr"] for panel in json.loads(BOARD.read_text())["panels"] for target in panel.get("targets", [])]
    began, silent, last = time.monotonic(), questions, questions
    while silent := [question for question in silent if not ask(prometheus, question)]:
        assert time.monotonic() - began < 120, "no answer to\n" + "\n".join(silent)
        last = silent
        time.sleep(1)
    print(f"answered after {time.monotonic() - began:.0f} s, the last: {last}")
    assert len(questions) > 20


def test_buildkits_own_metrics_are_there(prometheus: str, built: Seen) -> None:
    duration = 'buildkit_build_duration_seconds_count{status="success"} >= 1'
    for question in ('buildkit_builds_total{status="success"} >= 1', 'buildkit_builds_steps_total{kind="total"} > 1', duration):
        assert ask(prometheus, question)


@pytest.fixture(scope="module")
def prometheus(fleet: Fleet) -> str:
    """Where it answers."""
    [container] = fleet.compose.containers("prometheus")
    return f"http://{container.address('_mesh')}:9090"


def ask(prometheus: str, question: str) -> list[dict[str, Any]]:
    """Prometheus' answer now. A question that it does not understand is an HTTPError."""
    url = f"{prometheus}/api/v1/query?" + urllib.parse.urlencode({"query": question})
    result: list[dict[str, Any]] = get(url)["data"]["result"]
    return result


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)
