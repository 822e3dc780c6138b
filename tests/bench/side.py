"""One side of a pair: a daemon with a fresh root, and buildctl pointed at it."""

import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from tests.bench.memory import PeakMemory, cpu_seconds
from tests.kit.parts.buildkitd import Daemon, daemon
from tests.kit.parts.process import child, program

BUILD_TIMEOUT = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one measurement: wall clock and the daemon's CPU time in seconds, peak memory of its process tree in bytes."""

    wall: float
    cpu: float
    peak: int


class BuildFailed(Exception):
    """buildctl did not succeed; the text is the end of what it said."""


@dataclass(slots=True, kw_only=True)
class Side:
    """A running daemon. `registry` is the host of the test registry, `work` a folder for outputs."""

    name: str
    daemon: Daemon
    registry: str
    work: Path
    nonce: Iterator[str] = field(default_factory=lambda: (f"{time.time_ns()}-{number}" for number in count()))

    def command(self, dockerfile: str, context: Path | None, options: Sequence[str] = ()) -> list[str]:
        """argv of one build; the Dockerfile's text is written to a folder of its own."""
        folder = self.work / f"dockerfile-{next(self.nonce)}"
        folder.mkdir(parents=True)
        (folder / "Dockerfile").write_text(dockerfile)
        argv = [program("buildctl"), "--addr", self.daemon.addr, "build", "--progress=plain", "--frontend=dockerfile.v0"]
        return [*argv, "--local", f"dockerfile={folder}", "--local", f"context={context or folder}", *options]

    def build(self, dockerfile: str, context: Path | None = None, *options: str) -> None:
        """Raises BuildFailed."""
        self.run(self.command(dockerfile, context, options))

    def run(self, argv: Sequence[str]) -> None:
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=BUILD_TIMEOUT, check=False)
        if done.returncode:
            raise BuildFailed(done.stderr.strip()[-1500:])

    def at_once(self, argvs: Sequence[Sequence[str]]) -> None:
        """Runs all of them side by side. Raises BuildFailed when one fails."""
        silent = subprocess.DEVNULL
        with ExitStack() as all_of_them:
            running = [
                all_of_them.enter_context(child(argv, seconds=BUILD_TIMEOUT, stdin=silent, stdout=silent, stderr=silent)) for argv in argvs
            ]
            codes = [process.wait(BUILD_TIMEOUT) for process in running]
        if any(codes):
            raise BuildFailed(f"exit codes {codes}")

    def arg(self) -> tuple[str, str]:
        """A build argument that no build before had."""
        return "--opt", f"build-arg:NONCE={next(self.nonce)}"


@contextmanager
def started(name: str, argv: Sequence[str], folder: Path, registry: str) -> Iterator[Side]:
    """A daemon of this kind with an empty root."""
    with daemon(folder, argv) as running:
        yield Side(name=name, daemon=running, registry=registry, work=folder / "work")


def measured(side: Side, action: Callable[[], None]) -> Figures:
    """What `action` takes, as the client sees it."""
    pid = side.daemon.part.pid
    before = cpu_seconds(pid)
    with PeakMemory(pid) as memory:
        begin = time.perf_counter()
        action()
        wall = time.perf_counter() - begin
    return Figures(wall=wall, cpu=cpu_seconds(pid) - before, peak=memory.peak)
