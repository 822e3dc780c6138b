"""One fleet for all chaos tests: three executors, two of everything else, on a bus and a blob store that can be killed as well."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from services.certs import main as make_certificates
from tests.kit import load, remains
from tests.kit.clients import Buildctl
from tests.kit.parts.minio import S3, s3_server
from tests.kit.parts.nats import Nats, nats_server, secured
from tests.kit.stack import Stack, stack

COUNTS = {"executor": 3, "solver": 2, "frontend": 2, "exporter": 2, "cachestore": 2, "gateway": 2}
AT_ONCE = 6
IN_MAKE_CHAOS = pytest.mark.skipif("BUILDMESH_CHAOS_SEEDS" not in os.environ, reason="make chaos runs it: make test has no time for it")
PLUGINS = Path("/usr/lib/cni")


@dataclass(slots=True)
class Fleet:
    """A stack whose bus and blob store can be killed. `happened` tells what was done to whom."""

    stack: Stack
    nats: Nats
    s3: S3
    servers: ExitStack
    cgroup: str
    certs: Path
    happened: list[str] = field(default_factory=list)

    def clients(self, folder: Path) -> list[Buildctl]:
        """One of each gateway."""
        first = Buildctl(addr=self.stack.addr, work=folder / "gateway-0")
        return [first, Buildctl(addr=f"unix://{self.stack.folder}/gateway-1.sock", work=folder / "gateway-1")]

    def tell(self, what: str) -> None:
        self.happened.append(what)
        print(f"chaos: {what}", flush=True)

    def kill(self, name: str) -> None:
        """kill -9, and a new process after a moment."""
        self.tell(f"kill -9 {name}")
        self.stack.kill(name)
        time.sleep(0.5)
        self.stack.start(name)

    def drain_all(self, names: list[str]) -> dict[str, int]:
        """All of them at once."""
        with ThreadPoolExecutor(len(names)) as pool:
            return dict(zip(names, pool.map(self.drain, names), strict=True))

    def drain(self, name: str) -> int:
        """SIGTERM; the exit status; then a new process, ready."""
        self.tell(f"SIGTERM {name}")
        code = self.stack.stop(name)
        self.stack.start(name)
        self.stack.ready(name, 40)
        return code

    def pause(self, names: list[str], seconds: float) -> None:
        """SIGSTOP, and SIGCONT after `seconds`."""
        for name in names:
            self.tell(f"SIGSTOP {name} for {seconds:g} s")
            os.kill(self.stack.parts[name].pid, signal.SIGSTOP)
        time.sleep(seconds)
        for name in names:
            os.kill(self.stack.parts[name].pid, signal.SIGCONT)

    def restart_bus(self, *, wiped: bool = False, away: float = 0.0) -> None:
        self.tell("kill -9 nats-server" + (", its folder removed" if wiped else f", away for {away:g} s"))
        self.nats.part.kill()
        if wiped:
            shutil.rmtree(self.nats.store)
        time.sleep(away)
        port = int(self.nats.url.rpartition(":")[2])
        self.nats = self.stack.nats = self.servers.enter_context(nats_server(self.nats.store.parent, port=port, config=secured(self.certs)))

    def restart_blobs(self, *, away: float = 0.5) -> None:
        self.tell(f"kill -9 MinIO, away for {away:g} s")
        self.s3.part.kill()
        time.sleep(away)
        port = int(self.s3.endpoint.rpartition(":")[2])
        self.s3 = self.servers.enter_context(s3_server(self.s3.data.parent, port=port, certs=self.certs))

    def ready(self) -> None:
        """Every process works."""
        for name in self.stack.parts:
            self.stack.ready(name, 60)


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Every service with its certificate, its rights on the bus and its key: what is made anew after a death is made within them."""
    folder = tmp_path_factory.mktemp("chaos")
    certs = folder / "certs"
    assert make_certificates(["--out", str(certs)]) == 0
    with ExitStack() as servers:
        nats = servers.enter_context(nats_server(folder / "nats", config=secured(certs)))
        s3 = servers.enter_context(s3_server(folder / "s3", certs=certs))
        cgroup = f"/buildmesh-chaos-{os.getpid()}"
        (folder / "stack/tmp").mkdir(parents=True)
        with stack(
            folder / "stack",
            nats=nats,
            s3=s3,
            counts=COUNTS,
            settings={"executor": executor_settings(folder, cgroup)},
            env={"TMPDIR": str(folder / "stack/tmp")},
            certs=certs,
            seconds=60,
        ) as running:
            yield Fleet(running, nats, s3, servers, cgroup, certs)


def executor_settings(folder: Path, cgroup: str) -> dict[str, Any]:
    """With all that a step may leave: a cgroup, a network namespace; what steps print goes to the log, where runs are counted."""
    settings: dict[str, Any] = {"own_cgroup": True, "cgroup_parent": cgroup, "debug_output": True}
    if (PLUGINS / "loopback").exists():
        (folder / "cni.json").write_text('{"cniVersion": "1.0.0", "name": "chaos", "plugins": [{"type": "loopback"}]}')
        settings["network"] = {"mode": "cni", "cni_config": str(folder / "cni.json"), "cni_binaries": str(PLUGINS)}
    return settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What all clients of one load saw, and how often each step was begun on the executors."""

    seen: list[load.Seen]
    runs: dict[str, int]

    @property
    def repeated(self) -> dict[str, int]:
        """Steps that were begun more than once, by the line that they print."""
        return {mark: count for mark, count in self.runs.items() if count > 1}

    def report(self, title: str, happened: list[str]) -> str:
        lost, wrong = [s for s in self.seen if s.code], [s for s in self.seen if s.wrong]
        pause = max((s.pause for s in self.seen), default=0.0)
        again = sum(count - 1 for count in self.repeated.values())
        cut_off = sum(len(s.cut_off) for s in self.seen)
        return (
            f"{title}: {len(happened)} deaths under {len(self.seen)} builds; lost {len(lost)}, wrong bytes {len(wrong)}, "
            f"steps run again {again} of {len(self.runs)}, clients cut off {cut_off}, longest pause {pause:.1f} s, "
            f"longest build {max(s.seconds for s in self.seen):.1f} s"
        )

    def check(self) -> None:
        for seen in self.seen:
            assert seen.code == 0, f"{seen.order.name}: exit status {seen.code} after {seen.seconds:.0f} s\n{seen.said[-5000:]}"
            assert seen.wrong == [], f"{seen.order.name}: wrong bytes in {seen.wrong}"


@pytest.fixture
def under_load(fleet: Fleet, tmp_path: Path) -> Callable[..., Outcome]:
    """`under_load(orders, chaos, at_least)`: builds, some at a time, while `chaos()` runs, and on until `at_least` have been done."""

    def run(orders: list[load.Order], chaos: Callable[[], None], at_least: int = 20) -> Outcome:
        enough = threading.Event()
        clients = fleet.clients(tmp_path)

        def one(number: int, order: load.Order) -> load.Seen | None:
            if enough.is_set() and number >= at_least:
                return None
            return load.build(order, clients if number % 2 else clients[::-1], tmp_path / order.name)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            builds = [pool.submit(one, number, order) for number, order in enumerate(orders)]
            try:
                chaos()
            finally:
                enough.set()
            seen = [build.result(load.SECONDS * 2) for build in builds]
        fleet.ready()
        done = [each for each in seen if each is not None]
        return Outcome(seen=done, runs=remains.runs(fleet.stack, [mark for each in done for mark in each.order.steps]))

    return run
