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

import pytest

from tests.kit import load
from tests.kit.clients import Buildctl
from tests.kit.parts.minio import S3, s3_server
from tests.kit.parts.nats import Nats, nats_server
from tests.kit.stack import Stack, stack

COUNTS = {"executor": 3, "solver": 2, "frontend": 2, "exporter": 2, "cachestore": 2, "gateway": 2}
AT_ONCE = 6


@dataclass(slots=True)
class Fleet:
    """A stack whose bus and blob store can be killed. `happened` tells what was done to whom."""

    stack: Stack
    nats: Nats
    s3: S3
    servers: ExitStack
    happened: list[str] = field(default_factory=list)

    def tell(self, what: str) -> None:
        self.happened.append(what)
        print(f"chaos: {what}", flush=True)

    def kill(self, name: str) -> None:
        """kill -9, and a new process after a moment."""
        self.tell(f"kill -9 {name}")
        self.stack.kill(name)
        time.sleep(0.5)
        self.stack.start(name)

    def drain(self, name: str) -> int:
        """SIGTERM; the exit status; then a new process, ready."""
        self.tell(f"SIGTERM {name}")
        code = self.stack.stop(name)
        self.stack.start(name)
        self.stack.ready(name, 40)
        return code

    def pause(self, name: str, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after `seconds`."""
        self.tell(f"SIGSTOP {name} for {seconds:g} s")
        os.kill(self.stack.parts[name].pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self.stack.parts[name].pid, signal.SIGCONT)

    def restart_bus(self, *, wiped: bool = False) -> None:
        self.tell("kill -9 nats-server" + (", its folder removed" if wiped else ""))
        self.nats.part.kill()
        if wiped:
            shutil.rmtree(self.nats.store)
        port = int(self.nats.url.rpartition(":")[2])
        self.nats = self.servers.enter_context(nats_server(self.nats.store.parent, port=port))

    def restart_blobs(self, *, away: float = 0.5) -> None:
        self.tell(f"kill -9 MinIO, away for {away:g} s")
        self.s3.part.kill()
        time.sleep(away)
        port = int(self.s3.endpoint.rpartition(":")[2])
        self.s3 = self.servers.enter_context(s3_server(self.s3.data.parent, port=port))

    def ready(self) -> None:
        """Every process works."""
        for name in self.stack.parts:
            self.stack.ready(name, 60)


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("chaos")
    with ExitStack() as servers:
        nats = servers.enter_context(nats_server(folder / "nats"))
        s3 = servers.enter_context(s3_server(folder / "s3"))
        with stack(folder / "stack", nats=nats, s3=s3, counts=COUNTS, seconds=60) as running:
            yield Fleet(running, nats, s3, servers)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What all clients of one load saw."""

    seen: list[load.Seen]

    def report(self, title: str, happened: list[str]) -> str:
        lost, wrong = [s for s in self.seen if s.code], [s for s in self.seen if s.wrong]
        pause = max((s.pause for s in self.seen), default=0.0)
        repeated = sum(s.repeated() for s in self.seen)
        steps = sum(len(s.order.steps) for s in self.seen)
        return (
            f"{title}: {len(happened)} deaths under {len(self.seen)} builds; lost {len(lost)}, wrong bytes {len(wrong)}, "
            f"steps run again {repeated} of {steps}, longest pause {pause:.1f} s, longest build {max(s.seconds for s in self.seen):.1f} s"
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
        client = Buildctl(addr=fleet.stack.addr, work=tmp_path / "buildctl")

        def one(number: int, order: load.Order) -> load.Seen | None:
            return None if enough.is_set() and number >= at_least else load.build(order, client, tmp_path / order.name)

        with ThreadPoolExecutor(AT_ONCE) as pool:
            builds = [pool.submit(one, number, order) for number, order in enumerate(orders)]
            try:
                chaos()
            finally:
                enough.set()
            seen = [build.result(load.SECONDS + 30) for build in builds]
        fleet.ready()
        return Outcome(seen=[each for each in seen if each is not None])

    return run
