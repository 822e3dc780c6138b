"""A container that somebody outside drives: its trees are mounted first, processes come later (frontend/gateway/container)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from services.executor.adapters.exec_bundle import Bundle, Given, user_in
from services.executor.adapters.exec_given import ExecParts, Gathering
from services.executor.adapters.process import Child
from services.executor.adapters.process_streams import Streams
from services.executor.core.entitlements import check_entitlements
from services.executor.core.mounts import MountPlan, plan_mounts
from services.executor.core.spec import container_env, default_path, with_default
from shared.errors import BuildFailed, BuildmeshError, Canceled, InvalidInput
from shared.llb import ExecOp, Op, decode_op, validate_op
from shared.model import Platform
from shared.wire.messages import Scope

__all__ = ["Container", "Running", "checked_exec", "container_of"]

_POLL: Final = 0.01
_BEGIN_WITHIN: Final = 10.0
"""Seconds that a further process waits for the first one to run."""
_LAST_WORDS: Final = 5.0
"""Seconds that what killed processes have printed is still read."""


@dataclass(slots=True, kw_only=True, eq=False)
class Running:
    """A process. `child` is the runtime's process that stands for it; `pid` tells its own pid, 0 before it has one."""

    child: Child
    pid: Callable[[], int]
    streams: Streams

    async def signal(self, number: signal.Signals) -> None:
        """Waits until it has begun; nothing happens when it is over."""
        while not self.child.ended:
            if pid := self.pid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
                return
            await asyncio.sleep(_POLL)

    async def kill(self) -> None:
        """SIGKILL until it is gone; the runtime itself is never killed."""
        while not self.child.ended:
            if pid := self.pid():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.streams.discard()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL * 5):
                    await self.child.wait_process()


@dataclass(slots=True, kw_only=True, eq=False)
class Container:
    """`op` tells of mounts, network and host names. `closing` is set when it has to end, `begun` once its init has been started."""

    parts: ExecParts
    op: ExecOp
    plan: MountPlan
    given: Given
    bundle: Bundle
    scope: Scope
    platform: Platform
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    begun: bool = False
    main: Running | None = None
    processes: set[Running] = field(default_factory=set)
    failure: BuildmeshError | None = None
    """Of the first process that failed: that is what releasing the container ends with."""
    idle: asyncio.Event = field(default_factory=asyncio.Event)
    _numbers: int = 0

    def __post_init__(self) -> None:
        self.idle.set()

    async def start(self, process: ExecOp, streams: Streams, *, terminal: bool) -> Running:
        """The first process is the container's init; when that ends all end. Raises BuildFailed, InvalidInput, Unavailable."""
        first, self.begun = not self.begun, True
        try:
            running = await self._start(process, streams, terminal=terminal, first=first)
        except BaseException:
            self.begun = not first  # the next one may be the first that works
            raise
        streams.passed()
        self.processes.add(running)
        self.idle.clear()
        return running

    async def _start(self, process: ExecOp, streams: Streams, *, terminal: bool, first: bool) -> Running:
        op = self._merged(process, terminal)
        check_entitlements(op, self.scope.entitlements)
        secret_env = await Gathering(self.parts).secret_env(process, self.scope)
        if self.closing.is_set():
            raise Canceled("context canceled")
        return await (self._first(op, secret_env, streams, terminal) if first else self._more(op, secret_env, streams, terminal))

    def _merged(self, process: ExecOp, terminal: bool) -> ExecOp:
        own = self.op.meta
        env = with_default(process.meta.env, "PATH", default_path(self.platform.os))
        if terminal:
            env = with_default(env, "TERM", "xterm")
        meta = replace(process.meta, env=env, cwd=process.meta.cwd or "/", hostname=own.hostname, extra_hosts=own.extra_hosts)
        return replace(self.op, meta=meta, security=process.security, secret_env=process.secret_env)

    async def _first(self, op: ExecOp, secret_env: tuple[str, ...], streams: Streams, terminal: bool) -> Running:
        parts, id = self.parts, self.given.id
        given = replace(self.given, secret_env=secret_env)
        await parts.threads.finish(parts.bundles.configure, self.bundle, op, self.plan, given, terminal=terminal)
        child = parts.runc.start(id, self.bundle.path, streams.theirs)
        self.main = Running(child=child, pid=lambda: parts.runc.init_pid(id), streams=streams)
        return self.main

    async def _more(self, op: ExecOp, secret_env: tuple[str, ...], streams: Streams, terminal: bool) -> Running:
        await self._init_runs()
        parts, id = self.parts, self.given.id
        self._numbers += 1
        spec, pidfile = self.bundle.path / f"process-{self._numbers}.json", self.bundle.path / f"process-{self._numbers}.pid"
        await parts.threads.finish(self._write, spec, op, secret_env, terminal)
        return Running(child=parts.runc.start_more(id, spec, pidfile, streams.theirs), pid=lambda: _pid_in(pidfile), streams=streams)

    async def _init_runs(self) -> None:
        """Raises BuildFailed when it will not."""
        id, until = self.given.id, time.monotonic() + _BEGIN_WITHIN
        while not self.parts.runc.is_running(id):
            if self.closing.is_set():
                raise Canceled("context canceled")
            if (self.main is not None and self.main.child.ended) or time.monotonic() > until:
                raise BuildFailed(f"container {id} has stopped")
            await asyncio.sleep(_POLL)
        if self.main is not None and self.main.child.ended:
            raise BuildFailed(f"container {id} has stopped")

    def _write(self, path: Path, op: ExecOp, secret_env: tuple[str, ...], terminal: bool) -> None:
        process: dict[str, Any] = dict(self.bundle.spec["process"])
        if op.meta.user:
            user = user_in(self.bundle.root, op.meta.user)
            process["user"] = {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)}
        process |= {"terminal": terminal, "args": list(op.meta.args), "cwd": op.meta.cwd, "env": list(container_env(op.meta, secret_env))}
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(fd, "wb") as file:
            file.write(json.dumps(process, ensure_ascii=False).encode("utf-8", "surrogateescape"))

    def over(self, running: Running) -> None:
        """It has ended, and what it left has been read."""
        self.processes.discard(running)
        if not self.processes:
            self.idle.set()

    def failed(self, error: BuildmeshError) -> None:
        """A process did."""
        self.failure = self.failure or error

    async def end(self) -> None:
        """Kill everything that runs, the init last (that takes along whatever else there is)."""
        self.closing.set()
        for running in sorted(self.processes, key=lambda found: found is self.main):
            await running.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS):
                await self.idle.wait()


@asynccontextmanager
async def container_of(
    parts: ExecParts,
    op: ExecOp,
    inputs: tuple[str | None, ...],
    *,
    scope: Scope,
    platform: Platform,
    folders: Mapping[str, Mapping[str, bytes]] | None = None,
) -> AsyncIterator[Container]:
    """A container with nothing running; in the end everything in it is killed, and it is taken down."""
    plan = plan_mounts(op.mounts, "/", tuple(id is not None for id in inputs))
    bare = replace(op, secret_env=())
    async with AsyncExitStack() as stack:
        given = await Gathering(parts).gather(stack, bare, plan, inputs, scope=scope, platform=platform, folders=folders)
        bundle = parts.bundles.new(given.id)
        try:
            await parts.threads.finish(parts.bundles.mount, bundle, op, plan, given, private=True)
            container = Container(parts=parts, op=op, plan=plan, given=given, bundle=bundle, scope=scope, platform=platform)
            try:
                yield container
            finally:
                await container.end()
        finally:
            await parts.threads.finish(parts.abandon, bundle)


def checked_exec(data: bytes) -> tuple[Op, ExecOp]:
    """Whoever can publish on the bus is treated like an untrusted frontend. Raises InvalidInput."""
    op = decode_op(data)
    validate_op(op)
    if not isinstance(op.kind, ExecOp):
        raise InvalidInput(f"a container was expected, not a {type(op.kind).__name__}")
    return op, op.kind


def _pid_in(path: Path) -> int:
    try:
        return int(path.read_text() or 0)
    except (OSError, ValueError):
        return 0
