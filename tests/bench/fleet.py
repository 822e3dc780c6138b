"""Figures of the fleet: `python -m tests.bench fleet [NAME…]`. Real processes over nats-server and MinIO, all on this machine.

speedup   64 independent RUN that wait a fixed time, with 1, 2, 4, 8 executor processes (four slots each)
runs      what a RUN costs in CPU, and how much of it is runc's
overhead  what a vertex costs besides its own work: p50 and p99 over a chain of cheap steps
vertices  tiny vertices (file operations) through the mesh per second
cost      CPU of each process for such a vertex
builds    200 builds at once on one gateway
sessions  memory of a gateway per idle session
"""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from tests.bench import graphs
from tests.bench.memory import PeakMemory, cpu_seconds, cpu_split, proportional_size
from tests.kit import images
from tests.kit.parts.minio import s3_server
from tests.kit.parts.nats import nats_server
from tests.kit.parts.process import program
from tests.kit.parts.registry import registry_server
from tests.kit.stack import Stack, stack

STEPS: Final = 64
SLOTS: Final = 4
BUILD_TIMEOUT: Final = 400.0
EXECUTORS: Final = (1, 2, 4, 8)

Figure = dict[str, float | int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where measurements happen: a folder and a busybox image in a registry."""

    folder: Path
    busybox: str

    @contextmanager
    def fleet(self, name: str, executors: int, *, slots: int = SLOTS, log_level: str = "warning") -> Iterator[Stack]:
        """Six kinds of process with an empty state."""
        folder = self.folder / name
        with (
            nats_server(folder / "nats") as nats,
            s3_server(folder / "s3") as s3,
            stack(
                folder / "stack",
                nats=nats,
                s3=s3,
                counts={"executor": executors},
                settings={"executor": {"max_parallelism": slots}},
                mesh={"log_level": log_level},
                seconds=90,
            ) as mesh,
        ):
            yield mesh

    def argv(self, addr: str, dockerfile: str, number: int = 0) -> list[str]:
        """A build without a context."""
        folder = self.folder / f"dockerfile-{time.time_ns()}-{number}"
        folder.mkdir(parents=True)
        (folder / "Dockerfile").write_text(dockerfile)
        local = ("--local", f"dockerfile={folder}", "--local", f"context={folder}")
        return [program("buildctl"), "--addr", addr, "build", "--progress=plain", "--frontend=dockerfile.v0", *local]

    def build(self, addr: str, dockerfile: str) -> tuple[float, str]:
        """(seconds, what buildctl said)."""
        begin = time.perf_counter()
        done = subprocess.run(
            self.argv(addr, dockerfile), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUILD_TIMEOUT, check=False
        )
        if done.returncode:
            raise RuntimeError(done.stderr[-2000:])
        return time.perf_counter() - begin, done.stderr


def waiting_steps(base: str, seconds: float) -> str:
    """A Dockerfile of independent RUN, and one last that sees the results of all."""
    stages = "".join(f"FROM {base} AS s{i}\nRUN sleep {seconds} && echo {i} > /out\n" for i in range(STEPS))
    mounts = " ".join(f"--mount=type=bind,from=s{i},source=/out,target=/in/{i}" for i in range(STEPS))
    return f"{stages}FROM {base}\nRUN {mounts} cat /in/* | wc -l | grep -x {STEPS}\n"


def speedup(ground: Ground) -> Figure:
    """Wall clock as the client sees it, gathering included, against one executor of as many slots."""
    seconds = float(os.environ.get("BENCH_WAIT", "6"))
    figures: Figure = {"slots": SLOTS, "a step waits, s": seconds}
    first = 0.0
    for executors in [int(n) for n in os.environ.get("BENCH_EXECUTORS", "").split(",") if n] or EXECUTORS:
        with ground.fleet(f"speedup-{executors}", executors) as mesh:
            ground.build(mesh.addr, f"FROM {ground.busybox}\nRUN true\n")
            took, _ = ground.build(mesh.addr, waiting_steps(ground.busybox, seconds))
        first = first or took * executors
        figures |= {f"{executors} executors, s": round(took, 2), f"{executors} executors, speed-up / N": round(first / took / executors, 3)}
        print(figures, file=sys.stderr, flush=True)
    return figures


def runs(ground: Ground) -> Figure:
    """What a RUN costs in CPU, by whose it is; runc's part is what no executor can do without."""
    with ground.fleet("runs", 1) as mesh:
        ground.build(mesh.addr, f"FROM {ground.busybox}\nRUN true\n")
        before = {name: cpu_split(part.pid) for name, part in mesh.parts.items()}
        took, _ = ground.build(mesh.addr, waiting_steps(ground.busybox, 0))
        spent = {name: tuple(b - a for a, b in zip(before[name], cpu_split(part.pid), strict=True)) for name, part in mesh.parts.items()}
    own, runc = spent.pop("executor-0")
    shares = {"runc and the command": runc, "executor": own, "other services": sum(map(sum, spent.values()))}
    return {
        "RUN": STEPS + 1,
        "s": round(took, 2),
        **{f"CPU ms, {name}": round(cpu / (STEPS + 1) * 1000, 1) for name, cpu in shares.items()},
    }


def overhead(ground: Ground) -> Figure:
    """A chain of RUN true: the time between two steps is the step itself and the mesh around it."""
    chain = "".join(f"RUN : {i}\n" for i in range(100))
    with ground.fleet("overhead", 2) as mesh:
        ground.build(mesh.addr, f"FROM {ground.busybox}\nRUN true\n")
        took, _ = ground.build(mesh.addr, f"FROM {ground.busybox}\n{chain}")
        buckets = overhead_buckets(mesh)
    per_step = {"per step, ms": round(took / 100 * 1000, 1)}
    return per_step | {f"beyond the step's own time, p{p}, ms ≤": 1000 * below(buckets, p / 100) for p in (50, 90, 99)}


def overhead_buckets(mesh: Stack) -> list[tuple[float, int]]:
    """(upper bound in seconds, how many ops needed less) as the solver counts it."""
    with urlopen(f"http://127.0.0.1:{mesh.ports['solver-0']}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = re.findall(r'^buildmesh_op_overhead_seconds_bucket\{le="([^"]+)"\} (\d+)', text, re.MULTILINE)
    return [(float(bound), int(count)) for bound, count in found]


def below(buckets: Sequence[tuple[float, int]], part: float) -> float:
    """The bound below which this part of all lies."""
    total = buckets[-1][1]
    return next(bound for bound, count in buckets if count >= part * total)


def vertices(ground: Ground) -> Figure:
    """Files, each a vertex of its own: without inputs, and in chains side by side; never built before. First one chain alone."""
    count, figures = 1000, Figure()
    with ground.fleet("vertices", 1, slots=8) as mesh:
        took = _seconds(lambda: graphs.build_all(mesh.addr, [graphs.chains(1, 100)]))
        figures |= {"one chain, ms a vertex": round(took * 10, 1)}
        buckets = overhead_buckets(mesh)
        figures |= {f"of them beyond the op's own time, p{p}, ms ≤": 1000 * below(buckets, p / 100) for p in (50, 99)}
        for name, make in (("wide", partial(graphs.wide, count)), ("chains of 20", partial(graphs.chains, count // 20, 20))):
            times = sorted(_seconds(lambda: graphs.build_all(mesh.addr, [make()])) for _ in range(3))  # noqa: B023 (used at once)
            figures |= {f"{name}, vertices a second": round(count / times[1]), f"{name}, the best of 3": round(count / times[0])}
    return figures


def cost(ground: Ground) -> Figure:
    """CPU ms of each process for a vertex, in chains of 20."""
    count = 1000
    with ground.fleet("cost", 1, slots=8) as mesh:
        graphs.build_all(mesh.addr, [graphs.wide(50)])
        pids = {**{name: part.pid for name, part in mesh.parts.items()}, "nats": mesh.nats.part.pid, "minio": mesh.s3.part.pid}
        before = {name: cpu_seconds(pid) for name, pid in pids.items()}
        graphs.build_all(mesh.addr, [graphs.chains(count // 20, 20)])
        return {name: round((cpu_seconds(pid) - before[name]) / count * 1000, 2) for name, pid in pids.items()}


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def builds(ground: Ground) -> Figure:
    """Two hundred clients at once, each with one RUN of its own: our own client over the wire, and some buildctl among them."""
    ours, theirs = 180, 20
    with ground.fleet("builds", 2, slots=8) as mesh:
        ground.build(mesh.addr, f"FROM {ground.busybox}\nRUN true\n")
        argvs = [ground.argv(mesh.addr, f"FROM {ground.busybox}\nRUN echo {i}\n", i) for i in range(ours + theirs)]
        folders = [Path(argv[-1].partition("=")[2]) for argv in argvs[theirs:]]
        gateway = mesh.parts["gateway-0"].pid
        before = proportional_size(gateway)
        begin = time.perf_counter()
        with PeakMemory(gateway) as memory, ThreadPoolExecutor(1) as beside:
            real = beside.submit(at_once, argvs[:theirs])
            graphs.build_dockerfiles(mesh.addr, folders)
            real.result()
        took = time.perf_counter() - begin
        cpu = {name: round(cpu_seconds(part.pid), 2) for name, part in mesh.parts.items()}
    print(cpu, file=sys.stderr)
    grown = (memory.peak - before) / (ours + theirs) / 1000
    return {"builds": ours + theirs, "of them buildctl": theirs, "s": round(took, 2), "gateway, KB a build": round(grown)}


def at_once(argvs: Sequence[Sequence[str]]) -> float:
    """Seconds until the last has ended. Raises RuntimeError when one fails."""
    failed: list[str] = []
    begin = time.perf_counter()
    threads = [threading.Thread(target=_client, args=(argv, failed), daemon=True) for argv in argvs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(BUILD_TIMEOUT + 10)
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(argvs)} builds failed; the first said: {failed[0][-1500:]}")
    return time.perf_counter() - begin


def _client(argv: Sequence[str], failed: list[str]) -> None:
    try:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUILD_TIMEOUT, check=False)
    except subprocess.TimeoutExpired:
        failed.append("timed out")
        return
    if done.returncode:
        failed.append(done.stderr)


def sessions(ground: Ground) -> Figure:
    """Clients that hold a session open, each over a connection of its own."""
    count = 200
    with ground.fleet("sessions", 1) as mesh:
        ground.build(mesh.addr, f"FROM {ground.busybox}\nRUN true\n")
        gateway = mesh.parts["gateway-0"].pid
        before = proportional_size(gateway)
        with graphs.idle_sessions(mesh.addr, count):
            time.sleep(2)
            grown = proportional_size(gateway) - before
    return {"sessions": count, "KB a session": round(grown / count / 1000)}


SCENARIOS: Final[Mapping[str, Callable[[Ground], Figure]]] = {
    "speedup": speedup,
    "runs": runs,
    "overhead": overhead,
    "vertices": vertices,
    "cost": cost,
    "builds": builds,
    "sessions": sessions,
}


def ended(number: int, _frame: object) -> None:
    """SIGTERM unwinds like an error, so that the servers end as well."""
    raise SystemExit(128 + number)


def main(words: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench fleet", description="Figures of the fleet on this machine.")
    parser.add_argument("names", nargs="*", help=", ".join(SCENARIOS))
    options = parser.parse_args(words)
    signal.signal(signal.SIGTERM, ended)
    cache = Path(os.environ.get("BUILDMESH_CACHE") or Path.home() / ".cache/buildmesh")
    cache.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=cache, prefix="fleet-", ignore_cleanup_errors=True) as name,
        registry_server(Path(name) / "registry") as registry,
    ):
        ground = Ground(folder=Path(name), busybox=images.push("busybox", registry.host))
        for chosen in options.names or SCENARIOS:
            print(json.dumps({chosen: SCENARIOS[chosen](ground)}), flush=True)
