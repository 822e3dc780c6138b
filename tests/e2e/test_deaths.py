"""Six processes; others than an executor die during a RUN: bus (with its folder, too), cachestore, frontend, exporter, solver."""

import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.test_failures import sleeping, wait_until
from tests.kit.clients import Buildctl
from tests.kit.parts.minio import s3_server
from tests.kit.parts.nats import Nats, nats_server
from tests.kit.parts.process import child
from tests.kit.stack import Stack, stack

pytestmark = [pytest.mark.root, pytest.mark.slow]

Make = Callable[..., Path]


@dataclass(slots=True)
class Fleet:
    """A stack with a bus that can be killed."""

    stack: Stack
    nats: Nats
    servers: ExitStack

    def restart_bus(self, *, wiped: bool) -> None:
        self.nats.part.kill()
        if wiped:
            shutil.rmtree(self.nats.store)
        port = int(self.nats.url.rpartition(":")[2])
        self.nats = self.servers.enter_context(nats_server(self.nats.store.parent, port=port))

    def restart(self, name: str) -> None:
        self.stack.kill(name)
        self.stack.start(name)
        self.stack.ready(name)


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    folder = tmp_path_factory.mktemp("deaths")
    with ExitStack() as servers:
        nats = servers.enter_context(nats_server(folder / "nats"))
        s3 = servers.enter_context(s3_server(folder / "s3"))
        with stack(folder / "stack", nats=nats, s3=s3) as running:
            yield Fleet(running, nats, servers)


@pytest.fixture
def client(fleet: Fleet, tmp_path: Path) -> Buildctl:
    return Buildctl(addr=fleet.stack.addr, work=tmp_path / "buildctl")


def dockerfile(busybox: str, mark: str) -> str:
    return f"FROM {busybox}\nRUN echo {mark} > /before\nRUN sleep {mark}; cat /before > /after\nFROM scratch\nCOPY --from=0 /after /\n"


DEATHS: dict[str, Callable[[Fleet], None]] = {
    "bus": lambda fleet: fleet.restart_bus(wiped=False),
    "bus with its folder": lambda fleet: fleet.restart_bus(wiped=True),
    "cachestore": lambda fleet: fleet.restart("cachestore-0"),
    "frontend": lambda fleet: fleet.restart("frontend-0"),
    "exporter": lambda fleet: fleet.restart("exporter-0"),
    "solver": lambda fleet: fleet.restart("solver-0"),
}


def build_while(fleet: Fleet, client: Buildctl, folder: Path, mark: str, death: Callable[[Fleet], None]) -> tuple[int, str]:
    """A build during whose RUN somebody dies: exit status and what the client said."""
    argv = [*client.build_argv(folder), "--output", f"type=local,dest={folder.parent}/out"]
    log = folder.parent / "client.log"
    with log.open("wb") as sink, child(argv, seconds=180, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink) as build:
        wait_until(lambda: sleeping(mark), 30)
        death(fleet)
        code = build.wait(90)
    return code, log.read_text()


@pytest.mark.parametrize("who", list(DEATHS))
def test_the_build_completes_and_is_cached_afterwards(fleet: Fleet, client: Buildctl, context: Make, busybox: str, who: str) -> None:
    mark = f"5.{time.time_ns() % 10**7}"
    folder = context(dockerfile(busybox, mark))

    code, said = build_while(fleet, client, folder, mark, DEATHS[who])

    assert code == 0, said[-4000:]
    assert (folder.parent / "out/after").read_text() == f"{mark}\n"
    assert client.build(folder, "--output", f"type=local,dest={folder.parent}/again").ran() == []


def test_after_the_bus_lost_its_folder_and_the_cachestore_died_the_cache_is_still_there(
    fleet: Fleet, client: Buildctl, context: Make, busybox: str
) -> None:
    folder = context(dockerfile(busybox, "0.01"))
    client.build(folder, "--output", f"type=local,dest={folder.parent}/out")

    fleet.stack.kill("cachestore-0")
    fleet.restart_bus(wiped=True)
    fleet.stack.start("cachestore-0")
    fleet.stack.ready("cachestore-0")

    assert client.build(folder, "--output", f"type=local,dest={folder.parent}/again").ran() == []
