"""Containers by runc (or crun), one process each: `runc run --keep`, then our own sweeping of what it leaves.

Nothing is forked besides runc itself: its state directory and cgroups are removed with plain rmdir calls, which saves the
10 ms of a `runc delete` per step. `--keep` leaves the cgroup in place until we have asked it about memory kills.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from subprocess import DEVNULL
from typing import Any

from services.executor.adapters.process import Child, spawn
from shared.errors import Unavailable

__all__ = ["Exit", "Runc", "runtime_error"]

_log = logging.getLogger(__name__)
_KILL_AGAIN = 0.05
_DELETE_SECONDS = 30.0
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True, kw_only=True)
class Exit:
    """How a container ended. `code` as a shell would say (128 + signal); `out_of_memory` = the kernel killed in its cgroup."""

    code: int
    out_of_memory: bool


class Runc:
    """One runtime with its state directory. `log` of `run` gets (stream, bytes) as they come."""

    def __init__(self, binary: str, root: Path) -> None:
        self._binary = binary
        self._root = root
        self._env = {**os.environ, "GOMAXPROCS": "1"}  # it does one thing after the other: threads only cost it a tenth more
        root.mkdir(mode=0o711, parents=True, exist_ok=True)

    def clear(self) -> int:
        """End and forget containers that an earlier process left; returns how many. Call before mounts are cleared. Blocking."""
        left = [entry.name for entry in self._root.iterdir() if entry.is_dir()]
        for id in left:
            self._delete(id)
            shutil.rmtree(self._root / id, ignore_errors=True)
        return len(left)

    async def run(
        self,
        id: str,
        bundle: Path,
        spec: dict[str, Any],
        log: Callable[[int, bytes], None],
        *,
        stdin: int = DEVNULL,
    ) -> Exit:
        """Run the bundle to its end; `sweep` has to be called afterwards. Cancelling kills the container and waits until it is gone.

        Errors: Unavailable when the runtime can't be started.
        """
        arguments = ["--root", str(self._root), "--log", str(bundle / "runc.log"), "--log-format", "json"]
        arguments += ["run", "--keep", "--bundle", str(bundle), id]
        try:
            child = spawn([self._binary, *arguments], stdin=stdin, output={n: partial(log, n) for n in (1, 2)}, env=self._env)
        except OSError as error:
            raise Unavailable(f"can't start {self._binary}: {error.strerror}") from error
        code = await self._follow(id, child)
        killed = code != 0 and any(_memory_kills(path) for path in _cgroup_dirs(spec["linux"]["cgroupsPath"]))
        return Exit(code=code if code >= 0 else 128 - code, out_of_memory=killed)

    def start(self, id: str, bundle: Path, streams: Mapping[int, int]) -> Child:
        """The runtime's process that runs the bundle, its standard streams being `streams`. Raises Unavailable."""
        arguments = ["--log", str(bundle / "runc.log"), "--log-format", "json", "run", "--keep", "--bundle", str(bundle), id]
        return self._spawn(arguments, streams)

    def start_more(self, id: str, process: Path, pidfile: Path, streams: Mapping[int, int]) -> Child:
        """The runtime's process that runs one more (its spec in the file `process`) in a running container. Raises Unavailable."""
        return self._spawn(["exec", "--process", str(process), "--pid-file", str(pidfile), id], streams)

    def _spawn(self, arguments: list[str], streams: Mapping[int, int]) -> Child:
        try:
            return spawn([self._binary, "--root", str(self._root), *arguments], stdin=streams.get(0, DEVNULL), given=streams, env=self._env)
        except OSError as error:
            raise Unavailable(f"can't start {self._binary}: {error.strerror}") from error

    def is_running(self, id: str) -> bool:
        """Whether more processes can be started in it: created, and no longer waiting for its start (runc's fifo)."""
        return bool(self.init_pid(id)) and not (self._root / id / "exec.fifo").exists()

    async def _follow(self, id: str, child: Child) -> int:
        try:
            return await child.wait()
        except BaseException:
            await self.kill(id, child)
            raise

    async def kill(self, id: str, child: Child) -> None:
        """SIGKILL to the container's init until the runtime process has ended; the runtime itself is never killed."""
        while not child.ended:
            self._signal(id, signal.SIGKILL)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_KILL_AGAIN):
                    await child.wait_process()

    def _signal(self, id: str, number: signal.Signals) -> None:
        pid = self.init_pid(id)
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def init_pid(self, id: str) -> int:
        """Pid of the container's init as the runtime noted it, 0 before there is one."""
        try:
            state = json.loads((self._root / id / "state.json").read_bytes())
            return int(state.get("init_process_pid", 0))
        except (OSError, ValueError):
            pass
        try:  # crun
            return int(json.loads((self._root / id / "status").read_bytes()).get("pid", 0))
        except (OSError, ValueError):
            return 0

    def sweep(self, id: str, cgroups_path: str) -> None:
        """Remove what `--keep` kept: cgroups and state. Blocking, idempotent; in a pool thread, since the kernel takes its time."""
        if not (self._root / id).exists():
            return
        by_systemd = ".slice" in cgroups_path and cgroups_path.endswith(f":{id}")
        if by_systemd or not all(_removed(path) for path in _cgroup_dirs(cgroups_path)):
            self._delete(id)
        shutil.rmtree(self._root / id, ignore_errors=True)

    def _delete(self, id: str) -> None:
        command = [self._binary, "--root", str(self._root), "delete", "--force", id]
        subprocess.run(command, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL, timeout=_DELETE_SECONDS, check=False)


def _removed(cgroup: Path) -> bool:
    for _ in range(200):
        try:
            cgroup.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            time.sleep(0.005)  # its last process is still being reaped
        else:
            return True
    return False


def _cgroup_dirs(cgroups_path: str) -> list[Path]:
    """Where the container's cgroup is: one directory with cgroup v2, one per controller with v1."""
    if not cgroups_path.startswith("/"):
        return []
    relative = cgroups_path.lstrip("/")
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS / relative]
    places = (mount / relative for mount in _CGROUPS.iterdir() if not mount.is_symlink())
    return [place for place in places if place.is_dir()]


def _memory_kills(path: Path) -> int:
    for name in ("memory.events", "memory.oom_control"):
        try:
            lines = (path / name).read_text().split("\n")
        except OSError:
            continue
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
    return 0


def runtime_error(bundle: Path) -> str:
    """The last error the runtime logged, empty if none: what went wrong before the process began."""
    try:
        lines = (bundle / "runc.log").read_text(errors="replace").splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("level") == "error":
            return str(entry.get("msg", ""))
    return ""
