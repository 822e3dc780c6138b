"""Child processes without copying this one: `subprocess.Popen` uses vfork (0.15 ms), where uvloop's own spawn forks and copies
the page tables of a large process (15 ms and more, and the loop stands still for that long).

Ends are awaited by pidfd, output is read by the loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence

__all__ = ["Child", "capture", "spawn"]

_CHUNK = 64 << 10


class Child:
    """A running process. `wait` has to be awaited to its end, or `kill` called before."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self._loop = asyncio.get_running_loop()
        self._ended: asyncio.Future[None] = self._loop.create_future()
        self._open = 0
        self._drained: asyncio.Future[None] = self._loop.create_future()
        self._pidfd = os.pidfd_open(popen.pid)
        self._loop.add_reader(self._pidfd, self._on_end)

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def ended(self) -> bool:
        """Whether the process itself has ended (its output may still be open in a grandchild)."""
        return self._ended.done()

    def _on_end(self) -> None:
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self._popen.wait()
        if not self._ended.done():
            self._ended.set_result(None)

    def read(self, pipe: int, take: Callable[[bytes], None]) -> None:
        """Hand what comes from the descriptor `pipe` (owned from now on) to `take` until its end."""
        os.set_blocking(pipe, False)
        self._open += 1

        def ready() -> None:
            try:
                data = os.read(pipe, _CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if data:
                take(data)
                return
            self._loop.remove_reader(pipe)
            os.close(pipe)
            self._open -= 1
            if not self._open and not self._drained.done():
                self._drained.set_result(None)

        self._loop.add_reader(pipe, ready)

    async def wait_process(self) -> int:
        """The exit code, -N for signal N. Cancelling leaves the process alone."""
        await asyncio.shield(self._ended)
        return self._popen.returncode

    async def wait(self) -> int:
        """The exit code, when the output has been read to its end, too."""
        await asyncio.shield(self._ended)
        if self._open:
            await asyncio.shield(self._drained)
        return self._popen.returncode

    async def kill(self) -> None:
        """SIGKILL, and wait for the end of the process."""
        if not self._ended.done():
            with contextlib.suppress(ProcessLookupError):
                self._popen.send_signal(signal.SIGKILL)
        await self.wait_process()


def spawn(
    argv: Sequence[str],
    *,
    stdin: int = subprocess.DEVNULL,
    output: Mapping[int, Callable[[bytes], None]] | None = None,
    given: Mapping[int, int] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | None = None,
) -> Child:
    """Start `argv` in a session of its own. Streams 1 and 2 go to who takes them by `output`, or to a descriptor `given`.

    The others go nowhere. Errors: OSError.
    """
    takers, ours = output or {}, given or {}
    popen = subprocess.Popen(
        argv,
        stdin=stdin,
        stdout=subprocess.PIPE if 1 in takers else ours.get(1, subprocess.DEVNULL),
        stderr=subprocess.PIPE if 2 in takers else ours.get(2, subprocess.DEVNULL),
        start_new_session=True,
        env=env,
        cwd=cwd,
        bufsize=0,
    )
    child = Child(popen)
    for number, pipe in ((1, popen.stdout), (2, popen.stderr)):
        if pipe is not None:
            child.read(os.dup(pipe.fileno()), takers[number])
            pipe.close()
    return child


async def capture(
    argv: Sequence[str], *, data: bytes = b"", env: Mapping[str, str] | None = None, cwd: str | None = None
) -> tuple[int, bytes, bytes]:
    """Run to the end with `data` (small: it has to fit a pipe) as stdin; exit code, stdout, stderr. Cancelling kills.

    Errors: OSError.
    """
    out: list[bytes] = []
    err: list[bytes] = []
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        os.write(writer, data)
        child = spawn(argv, stdin=reader, output={1: out.append, 2: err.append}, env=env, cwd=cwd)
    finally:
        os.close(writer)
        os.close(reader)
    try:
        code = await child.wait()
    except BaseException:
        await child.kill()
        raise
    return code, b"".join(out), b"".join(err)
