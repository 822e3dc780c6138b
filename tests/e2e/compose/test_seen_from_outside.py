"""A fleet as operators see it: one trace of a build in Jaeger, metrics in Prometheus, the Grafana board's questions answered."""

import json
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.compose.conftest import FOLDER, Fleet
from tests.e2e.conftest import context_in
from tests.kit.clients import Buildctl

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(900)]  # the first of them builds an image and starts a fleet

BOARD = FOLDER / "grafana/boards/buildmesh.json"
SERVICES = {f"buildmesh-{name}" for name in ("gateway", "frontend", "solver", "executor", "exporter", "cachestore")}
HELLO = "FROM busybox AS make\nRUN echo seen > /out\nFROM scratch\nCOPY --from=make /out /\n"


@pytest.fixture(scope="module")
def built(fleet: Fleet, busybox_layout: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A word that stands in the names of the build's spans: it was built once, by a client that tells Jaeger by thrift over UDP."""
    from tests.kit.oci_layout import Layout

    folder = tmp_path_factory.mktemp("seen")
    options = [
        f"--oci-layout=busybox={busybox_layout}",
        f"--opt=context:busybox=oci-layout://busybox@{Layout.digest(busybox_layout, 'latest')}",
    ]
    client = Buildctl(addr=fleet.addr, work=folder / "work", env={"JAEGER_TRACE": fleet.udp})
    client.build(context_in(folder)(HELLO), *options, f"--output=type=local,dest={folder}/out")
    return "echo seen"


def test_one_trace_over_the_client_and_all_services(fleet: Fleet, built: str) -> None:
    """The client's spans came over thrift and UDP, the services' over OTLP; all say the same trace."""
    deadline = time.monotonic() + 15
    found: set[str] = set()
    while not found >= {"buildctl", *SERVICES}:
        assert time.monotonic() < deadline, f"the trace has spans of {sorted(found)} only"
        time.sleep(0.3)
        traces = get(f"{fleet.jaeger}/api/traces?service=buildctl&lookback=1h&limit=50")["data"]
        own = [trace for trace in traces if any(built in span["operationName"] for span in trace["spans"])]
        found = {process["serviceName"] for trace in own[:1] for process in trace["processes"].values()}


def test_every_process_is_scraped(prometheus: str) -> None:
    """Found by Docker's DNS, labelled with the service."""
    deadline = time.monotonic() + 30
    seen: set[str] = set()
    while seen != {name.removeprefix("buildmesh-") for name in SERVICES}:
        assert time.monotonic() < deadline, f"only {sorted(seen)} answer"
        time.sleep(0.3)
        seen = {row["metric"]["service"] for row in ask(prometheus, "up == 1")}


def test_each_question_of_the_board_is_answered(prometheus: str, built: str) -> None:
    """Prometheus takes every query, and after a build each one has something to show."""
    questions = [target["expr"] for panel in json.loads(BOARD.read_text())["panels"] for target in panel.get("targets", [])]
    began, silent, last = time.monotonic(), questions, questions
    while silent := [question for question in silent if not ask(prometheus, question)]:
        assert time.monotonic() - began < 120, "no answer to\n" + "\n".join(silent)
        last = silent
        time.sleep(1)
    print(f"answered after {time.monotonic() - began:.0f} s, the last: {last}")
    assert len(questions) > 20


def test_buildkits_own_metrics_are_there(prometheus: str, built: str) -> None:
    for question in ('buildkit_builds_total{status="success"} >= 1', 'buildkit_builds_steps_total{kind="total"} > 1'):
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
