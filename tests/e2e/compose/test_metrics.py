"""What a fleet tells while it builds: each figure moves, and what is a state goes back. `buildmesh top` shows the same on a terminal."""

import os
import pty
import re
import select
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from shared.telemetry import names
from shared.telemetry.names import Metric
from tests.e2e.compose.conftest import SLOTS, Fleet
from tests.e2e.conftest import context_in
from tests.kit.clients import Buildctl
from tests.kit.parts.compose import Compose
from tests.kit.parts.process import child, program

pytestmark = [pytest.mark.root, pytest.mark.slow, pytest.mark.timeout(900)]  # the first of them builds an image and starts a fleet

SERVICES: Final = ("gateway", "frontend", "solver", "executor", "exporter", "cachestore")
STEPS: Final = 2 * SLOTS
"""Of the build: as many as one executor can run wait."""

COUNTED: Final = (
    'buildkit_builds_total{status="success"}',
    'buildkit_builds_steps_total{kind="total"}',
    'buildkit_build_duration_seconds_count{status="success"}',
    'buildmesh_ops_total{kind="exec"}',
    'buildmesh_cache_questions_total{outcome="hit"}',
    'buildmesh_cache_questions_total{outcome="miss"}',
    'buildmesh_blob_bytes_total{direction="in"}',
    'buildmesh_blob_bytes_total{direction="out"}',
    "buildmesh_cache_records",
)
STATES: Final = (names.BUILDS_RUNNING, names.SESSIONS, names.CALLS_ASKED, names.CALLS_SERVED, names.QUEUE_DEPTH, names.SLOTS_BUSY)
LAGS: Final = (names.BUS_LAG, names.LOOP_LAG)


class Figures:
    """The sum of each sample over all processes, now."""

    def __init__(self, addresses: list[str]) -> None:
        self._rows = [line.rpartition(" ") for address in addresses for line in scraped(address)]

    def of(self, sample: str) -> float:
        """`name{label="value"}`: all samples of that name that have that label, among others."""
        name, _, label = sample.rstrip("}").partition("{")
        return sum(float(value) for found, _, value in self._rows if found.partition("{")[0] == name and label in found)

    def state(self, metric: Metric) -> float:
        return self.of(metric.name)


def scraped(address: str) -> list[str]:
    with urllib.request.urlopen(f"http://{address}:8080/metrics", timeout=5) as answer:
        return [line for line in answer.read().decode().splitlines() if line and not line.startswith("#")]


@pytest.fixture
def addresses(fleet: Fleet) -> list[str]:
    return [found.address("_mesh") for service in SERVICES for found in fleet.compose.containers(service)]


@contextmanager
def under_way(fleet: Fleet, options: list[str], folder: Path, seconds: float) -> Iterator["subprocess.Popen[bytes]"]:
    """A build of independent steps that take so long each."""
    stages = "".join(f"FROM busybox AS s{n}\nRUN sleep {seconds}; echo {folder.name} {n} > /out{n}\n" for n in range(STEPS))
    copies = "".join(f"COPY --from=s{n} /out{n} /\n" for n in range(STEPS))
    context = context_in(folder)(f"{stages}FROM scratch\n{copies}")
    client = Buildctl(addr=fleet.addr, work=folder / "work")
    argv = [*client.build_argv(context, *options), f"--output=type=local,dest={folder}/out"]
    with (folder / "client.log").open("wb") as sink, child(argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink) as started:
        yield started


def test_each_figure_moves_under_a_build(fleet: Fleet, addresses: list[str], from_busybox: list[str], tmp_path: Path) -> None:
    """States rise and fall to where they were, counters grow, and no lag is a constant."""
    before, highest, lags = Figures(addresses), dict.fromkeys((*STATES, names.QUEUE_OLDEST), 0.0), {lag: set[float]() for lag in LAGS}
    with under_way(fleet, from_busybox, tmp_path, 1.5) as started:
        while started.poll() is None:
            now = Figures(addresses)
            highest = {metric: max(value, now.state(metric)) for metric, value in highest.items()}
            for lag in LAGS:
                lags[lag].add(now.state(lag))
            time.sleep(0.1)
    assert started.returncode == 0, (tmp_path / "client.log").read_text()[-4000:]
    Buildctl(addr=fleet.addr, work=tmp_path / "again").build(tmp_path / "context", *from_busybox)  # hits
    after = settled(addresses, before)

    assert (highest[names.SLOTS_BUSY], after.state(names.SLOTS)) == (SLOTS, SLOTS)
    assert highest[names.QUEUE_DEPTH] >= STEPS - SLOTS
    assert highest[names.QUEUE_OLDEST] > 0.5
    assert [metric.name for metric in STATES if highest[metric] <= before.state(metric)] == []
    assert [sample for sample in COUNTED if after.of(sample) <= before.of(sample)] == []
    assert [lag.name for lag in LAGS if len(lags[lag]) < 2] == []


def settled(addresses: list[str], before: Figures) -> Figures:
    """When all states are what they were."""
    deadline = time.monotonic() + 15
    while True:
        now = Figures(addresses)
        higher = [metric.name for metric in STATES if now.state(metric) > before.state(metric)]
        if not higher:
            return now
        assert time.monotonic() < deadline, f"still higher than before: {higher}"
        time.sleep(0.2)


def test_top_shows_services_slots_and_queue_on_a_terminal(fleet: Fleet, from_busybox: list[str], tmp_path: Path) -> None:
    """As an operator runs it, in the gateway's container: it looks again and again, and what waits is on the screen."""
    urls = [word for name in SERVICES for word in ("--metrics", f"http://{name}:8080")]
    words = ["exec", "gateway", "buildmesh", "top", "--addr", "tcp://127.0.0.1:1234", "--interval", "0.3", *urls]
    with under_way(fleet, from_busybox, tmp_path, 2.0) as started, terminal(fleet.compose, words) as screen:
        busy = shown(screen, rf"linux/amd64\S*\s+{SLOTS}/{SLOTS} [\s\S]*QUEUE [\s\S]*work\.exec\.default\.linux-amd64\s+[1-9]")
        started.wait(60)
        idle = shown(screen, rf"builds: 0 [\s\S]*linux/amd64\S*\s+0/{SLOTS} ")

    assert started.returncode == 0, (tmp_path / "client.log").read_text()[-4000:]
    assert re.search(r"builds: 1 +executors: 1", busy)
    assert all(re.search(rf"http://{name}:8080 .* [0-9.]+ms", idle) for name in SERVICES)


def test_top_once(fleet: Fleet) -> None:
    """One look, for a script."""
    said = fleet.compose.call("exec", "-T", "gateway", "buildmesh", "top", "--once", "--addr", "tcp://127.0.0.1:1234")

    assert "executors: 1" in said
    assert "\x1b" not in said


@contextmanager
def terminal(compose: Compose, words: list[str]) -> Iterator[int]:
    """`docker compose WORDS` on a terminal of its own; the terminal's other end."""
    ours, theirs = pty.openpty()
    argv = [program("docker"), "compose", "-f", str(compose.file), *words]
    env = {**os.environ, **compose.environment, "TERM": "xterm"}
    try:
        with child(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=env, start_new_session=True):
            yield ours
    finally:
        os.close(ours)
        os.close(theirs)


def shown(screen: int, pattern: str) -> str:
    """What the terminal shows once that matches, newlines as the terminal was sent them."""
    deadline, text = time.monotonic() + 30, ""
    while True:
        looks = [look.replace("\r", "") for look in text.split("\x1b[H\x1b[2J")]
        if found := [look for look in looks if re.search(pattern, look)]:
            return found[-1]
        assert time.monotonic() < deadline, f"never shown: {pattern}; at last:\n{looks[-1]}"
        if select.select([screen], [], [], 0.5)[0]:
            text += os.read(screen, 65536).decode(errors="replace")
