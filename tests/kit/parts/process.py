"""Starting a server, waiting for it, ending it."""

import os
import signal
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any, Final

_ANY_CERTIFICATE: Final = ssl._create_unverified_context()

POLL: Final = 0.02
"""Seconds between two looks at a server that is starting."""

KEEP_BYTECODE: Final = {"PYTHONDONTWRITEBYTECODE": ""}
"""Our own servers start as an installed program does: compiling them anew at each start would cost twice as much as all the rest of it."""


class NotHere(Exception):
    """A program is not installed; the message says how to get it."""


@dataclass(slots=True, kw_only=True)
class Part:
    """A running server process. `log` has its stdout and stderr."""

    name: str
    argv: Sequence[str]
    log: Path
    process: subprocess.Popen[bytes]
    grace: float = 10.0

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def said(self) -> str:
        """What it has printed so far."""
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        if self.alive:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(self.grace)

    def stop(self) -> int:
        """SIGTERM, then SIGKILL after `grace` seconds; returns the exit status (negative: by signal)."""
        if self.alive:
            self.process.terminate()
        try:
            return self.process.wait(self.grace)
        except subprocess.TimeoutExpired:
            self.kill()
            return self.process.returncode


def tools_bin() -> Path:
    """Where tests/tools puts its programs."""
    return Path(os.environ.get("BUILDMESH_TOOLS") or Path.home() / ".cache/buildmesh/tools") / "bin"


def program(name: str, how: str = "tests/tools/install") -> str:
    """The path of a program: the project's own tools first, then PATH. Raises NotHere."""
    path = os.pathsep.join((str(tools_bin()), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    found = which(name, path=path)
    if found is None:
        raise NotHere(f"{name} is not here: run {how}")
    return found


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    """A loopback port that nobody has at this moment."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def http_ok(url: str) -> bool:
    """True when `url` answers with a status below 500 at once, whatever its certificate."""
    try:
        with urllib.request.urlopen(url, timeout=1, context=_ANY_CERTIFICATE) as answer:
            return bool(answer.status < 500)
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False


def accepts(address: tuple[str, int] | str) -> bool:
    """True when something accepts at this TCP address or unix socket path."""
    family = socket.AF_UNIX if isinstance(address, str) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(address)
        except OSError:
            return False
        return True


def wait_ready(part: Part, ready: Callable[[], bool], seconds: float) -> None:
    """Returns when `ready()`; raises AssertionError with the server's words when it ends or takes longer."""
    deadline = time.monotonic() + seconds
    while not ready():
        assert part.alive, f"{part.name} ended with {part.process.returncode} before it was ready:\n{part.said()[-4000:]}"
        assert time.monotonic() < deadline, f"{part.name} is not ready after {seconds} s:\n{part.said()[-4000:]}"
        time.sleep(POLL)


def ending_with_parent(argv: Sequence[str]) -> list[str]:
    """The command, told to get SIGTERM when this process is killed. It goes by the thread that starts it, so only the main thread's last.

    By a program and not by `preexec_fn`: that needs a fork of this whole process, which gRPC's threads do not always survive.
    """
    if threading.current_thread() is not threading.main_thread() or which("setpriv") is None:
        return list(argv)
    return ["setpriv", "--pdeathsig", "TERM", "--", *argv]


@contextmanager
def child(argv: Sequence[str | Path], *, seconds: float = 120.0, **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """A client or other program for the length of a block, at whose end it is killed; `options` are Popen's.

    It is killed after `seconds` in any case, so that reading its pipes ends as well.
    """
    process = subprocess.Popen(argv, **options)
    watchdog = threading.Timer(seconds, process.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.wait(10)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


@contextmanager
def running(
    name: str,
    argv: Sequence[str],
    *,
    folder: Path,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    seconds: float = 20.0,
    grace: float = 10.0,
) -> Iterator[Part]:
    """A server for the length of a block. `env` comes on top of this process's environment."""
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    with log.open("ab") as sink:
        process = subprocess.Popen(
            ending_with_parent(argv),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            env={**os.environ, **KEEP_BYTECODE, **(env or {})},
            cwd=cwd,
            start_new_session=True,
        )
    part = Part(name=name, argv=argv, log=log, process=process, grace=grace)
    try:
        wait_ready(part, ready, seconds)
        yield part
    finally:
        part.stop()
