"""usage: python -m tests.bench [--only NAME,…] [--rounds N] [--write] [--json FILE] [--theirs-only] [--folder FOLDER]; or fleet …"""

import argparse
import compileall
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import fleet, report
from tests.bench.disk import fresh_disk
from tests.bench.memory import PeakMemory, cpu_seconds
from tests.bench.scenarios import SCENARIOS, Inputs, Scenario
from tests.bench.side import BuildFailed, Figures, Side, measured, started
from tests.kit import images
from tests.kit.parts.buildkitd import REPOSITORY, our_buildmeshd, real_buildkitd
from tests.kit.parts.process import program
from tests.kit.parts.registry import registry_server

START = "start until `buildctl debug workers` is answered"


@dataclass(slots=True, kw_only=True)
class Bench:
    """The sides by name, and what they build. Each measurement begins with a new daemon on an empty root."""

    sides: Mapping[str, Sequence[str]]
    inputs: Inputs
    registry: str
    folder: Path
    runs: int = 0
    figures: dict[str, list[Figures]] = field(default_factory=dict)

    def pair(self, scenario: Scenario, rounds: int) -> report.Row:
        """Both sides in turn, beginning with the other one in each round."""
        self.figures = {name: [] for name in self.sides}
        failure = ""
        for number in range(rounds):
            names = list(self.sides)
            for name in names if number % 2 == 0 else reversed(names):
                try:
                    self.figures[name] += self.one(scenario, name)
                except (BuildFailed, AssertionError, subprocess.TimeoutExpired) as error:
                    failure = f"{name}: {error}"
                    print(f"  {scenario.name}: {failure}", file=sys.stderr)
        return report.Row(title=scenario.title, theirs=self.figures.get("theirs", []), ours=self.figures.get("ours", []), failure=failure)

    def one(self, scenario: Scenario, name: str) -> list[Figures]:
        """The figures of one daemon's life."""
        self.runs += 1
        folder = self.folder / f"{self.runs:03d}-{scenario.name}-{name}"
        with fresh_disk(folder):
            if scenario.name == "start":
                return [self.start(name, folder)]
            with started(name, self.sides[name], folder, self.registry) as side:
                return self.in_daemon(scenario, side)

    def in_daemon(self, scenario: Scenario, side: Side) -> list[Figures]:
        scenario.prepare(side, self.inputs)
        found = []
        for repeat in range(scenario.repeats):
            if repeat:
                scenario.again(side, self.inputs)
            os.sync()
            found.append(measured(side, lambda: scenario.measure(side, self.inputs)))
        return found

    def start(self, name: str, folder: Path) -> Figures:
        """From nothing to the answer of a call."""
        begin = time.perf_counter()
        with started(name, self.sides[name], folder, self.registry) as side, PeakMemory(side.daemon.part.pid) as memory:
            side.run([program("buildctl"), "--addr", side.daemon.addr, "debug", "workers"])
            wall = time.perf_counter() - begin
            cpu = cpu_seconds(side.daemon.part.pid)
        return Figures(wall=wall, cpu=cpu, peak=memory.peak)


def arguments() -> argparse.Namespace:
    cache = Path(os.environ.get("BUILDMESH_CACHE") or Path.home() / ".cache/buildmesh")
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Compares buildmeshd with buildkitd.")
    parser.add_argument("--only", help="scenarios, by comma: start," + ",".join(scenario.name for scenario in SCENARIOS))
    parser.add_argument("--rounds", type=int, default=3, help="pairs for each scenario (default 3)")
    parser.add_argument("--write", action="store_true", help="put the table into docs/measuring.md")
    parser.add_argument("--json", type=Path, help="write every measurement to this file")
    parser.add_argument("--theirs-only", action="store_true", help="only the real buildkitd")
    parser.add_argument("--folder", type=Path, default=cache, help="where contexts and the daemons' disks are made (default %(default)s)")
    return parser.parse_args()


def run(options: argparse.Namespace, folder: Path) -> list[report.Row]:
    """All scenarios asked for."""
    start = Scenario(name="start", title=START, measure=lambda side, inputs: None)
    wanted = options.only.split(",") if options.only else None
    sides = {"theirs": real_buildkitd()} | ({} if options.theirs_only else {"ours": our_buildmeshd()})
    rows = []
    for package in ("services", "shared"):  # as an installation does
        compileall.compile_dir(REPOSITORY / package, quiet=2)
    with registry_server(folder / "registry") as registry:
        inputs = Inputs(folder=folder, busybox=images.push("busybox", registry.host), debian=images.push("debian", registry.host))
        bench = Bench(sides=sides, inputs=inputs, registry=registry.host, folder=folder)
        for scenario in (start, *SCENARIOS):
            if wanted is None or scenario.name in wanted:
                rows.append(bench.pair(scenario, options.rounds))
                print(report.line(rows[-1]), end="", file=sys.stderr, flush=True)
    return rows


def ended(number: int, _frame: object) -> None:
    """SIGTERM unwinds like an error, so that the servers end as well."""
    raise SystemExit(128 + number)


def main() -> None:
    options = arguments()
    signal.signal(signal.SIGTERM, ended)
    options.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=options.folder, prefix="bench-", ignore_cleanup_errors=True) as folder:
        rows = run(options, Path(folder))
    text = f"{report.heading(options.rounds, REPOSITORY)}\n{report.table(rows)}"
    print(text)
    if options.json:
        options.json.write_text(json.dumps(report.as_json(rows), indent=1))
    if options.write:
        report.write(REPOSITORY / "docs/measuring.md", text)


if __name__ == "__main__":
    if sys.argv[1:2] == ["fleet"]:
        fleet.main(sys.argv[2:])
    else:
        main()
