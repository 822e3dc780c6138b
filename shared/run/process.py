"""A process: opens its Mesh, runs its services, answers health, drains on SIGTERM."""

import argparse
import asyncio
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from shared.errors import BuildmeshError, InvalidInput, Unavailable
from shared.model import sha256_digest
from shared.run import settings
from shared.run.backends import MeshConfig, Parts, mesh_for, open_parts
from shared.run.bus_lag import watch_bus_lag
from shared.run.environment import overlaid
from shared.run.http import Route, http_server, standard_routes
from shared.run.mesh import BLOBS, Mesh
from shared.run.sessions import session_links
from shared.run.state import own_state
from shared.telemetry import names

Runner = Callable[[Mesh], Awaitable[None]]
C = TypeVar("C")

LAG_INTERVAL = 0.5
BLOBS_INTERVAL = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What a process runs: services by name in the order in which they drain, tier after tier (callers first)."""

    mesh: MeshConfig
    services: Mapping[str, Runner]
    tiers: Sequence[Sequence[str]] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    routes: Mapping[str, Route] = field(default_factory=dict)
    on_ready: Callable[[], None] | None = None


async def run_program(program: Program) -> None:
    """Until all services have ended: by SIGTERM (drain), a second signal or the drain limit (cancel), or the first failure."""
    async with AsyncExitStack() as stack:
        mesh = stack.enter_context(own_state(program.mesh))
        parts = await stack.enter_async_context(open_parts(mesh, environment=dict(program.environment), name=_name(program)))
        if program.mesh.http:
            routes = {**standard_routes(parts.readiness, parts.metrics), **program.routes}
            await stack.enter_async_context(http_server(program.mesh.http, routes))
        links = await stack.enter_async_context(session_links(parts.bus, alone=parts.alone, certificates=parts.certificates))
        meshes = {name: await stack.enter_async_context(mesh_for(name, parts, sessions=links)) for name in program.services}
        await _run_all(program, parts, meshes)


def _name(program: Program) -> str:
    """What the process is called on the bus: its service, or `buildmesh` when it runs several."""
    return next(iter(program.services)) if len(program.services) == 1 else "buildmesh"


async def _run_all(program: Program, parts: Parts, meshes: Mapping[str, Mesh]) -> None:
    async with asyncio.TaskGroup() as tasks:
        running = {name: tasks.create_task(_as_coroutine(run, meshes[name]), name=name) for name, run in program.services.items()}
        stopping = asyncio.Event()
        watchers = [
            tasks.create_task(_drain_when_told(program, parts, meshes, running, stopping), name="drain"),
            tasks.create_task(_watch_lag(parts), name="loop lag"),
        ]
        if not parts.alone:
            parts.readiness.expect(BLOBS)
            watchers.append(tasks.create_task(_reach_blobs(parts), name="blob store"))
            watchers.append(tasks.create_task(watch_bus_lag(parts.bus, parts.metrics.gauge(names.BUS_LAG)), name="bus lag"))
        if program.on_ready is not None:
            watchers.append(tasks.create_task(_tell_ready(parts, program.on_ready), name="ready"))
        with _signals(stopping, running):
            await asyncio.wait(running.values())
        for watcher in watchers:
            watcher.cancel()


async def _as_coroutine(run: Runner, mesh: Mesh) -> None:
    await run(mesh)
    mesh.log.debug("ended")


async def _tell_ready(parts: Parts, on_ready: Callable[[], None]) -> None:
    while not parts.readiness.ready:
        await parts.readiness.changed.wait()
        parts.readiness.changed.clear()
    on_ready()


async def _drain_when_told(
    program: Program, parts: Parts, meshes: Mapping[str, Mesh], running: "Mapping[str, asyncio.Task[None]]", stopping: asyncio.Event
) -> None:
    """Callers go first: who still serves them may only stop when they have ended."""
    await stopping.wait()
    parts.log.info("draining")
    parts.readiness.drain()
    try:
        async with asyncio.timeout(program.mesh.drain_seconds):
            for tier in program.tiers or [list(running)]:
                for name in tier:
                    await meshes[name].calls.drain()
                await asyncio.wait([running[name] for name in tier])
    except TimeoutError:
        parts.log.warning("what still runs is cancelled", after_seconds=program.mesh.drain_seconds)
        for task in running.values():
            task.cancel()


class _signals:
    """SIGTERM and SIGINT: the first drains, the second cancels."""

    def __init__(self, stopping: asyncio.Event, running: "Mapping[str, asyncio.Task[None]]") -> None:
        self._stopping, self._running = stopping, running

    def __enter__(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self._received)

    def _received(self) -> None:
        if self._stopping.is_set():
            for task in self._running.values():
                task.cancel()
        self._stopping.set()

    def __exit__(self, *failure: object) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)


async def _reach_blobs(parts: Parts) -> None:
    """Ready means: the blob store has answered once, and its bucket is made. Later it is asked when it is needed."""
    while True:
        try:
            await parts.claims.find_missing([sha256_digest(b"")])
            break
        except Unavailable as error:
            parts.log.warning("waiting for the blob store", error=error)
            await asyncio.sleep(BLOBS_INTERVAL)
    parts.readiness.up(BLOBS)


async def _watch_lag(parts: Parts) -> None:
    """How late a timer fires says how long something blocked the loop."""
    gauge = parts.metrics.gauge(names.LOOP_LAG)
    loop = asyncio.get_running_loop()
    while True:
        before = loop.time()
        await asyncio.sleep(LAG_INTERVAL)
        lag = loop.time() - before - LAG_INTERVAL
        gauge.set(max(lag, 0.0))
        if lag > 1.0:
            parts.log.warning("the event loop was blocked", seconds=round(lag, 2))


def run_loop(program: Program) -> int:
    """The process's exit status: 0 after a drain, 1 after a failure, told on stderr."""
    import uvloop

    status = 0
    try:
        uvloop.run(run_program(program))
    except* asyncio.CancelledError:
        status = 1
    except* Exception as group:
        for error in _leaves(group):
            _tell(error)
        status = 1
    return status


def _tell(error: BaseException) -> None:
    if isinstance(error, BuildmeshError):
        print(f"error: {error}", file=sys.stderr)
    else:  # our fault: the groups around it would bury the place
        traceback.print_exception(error)


def _leaves(group: BaseExceptionGroup[Any]) -> list[BaseException]:
    out: list[BaseException] = []
    for error in group.exceptions:
        out += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return out


def main(service: str, run: Callable[[C, Mesh], Awaitable[None]], config_type: type[C], argv: Sequence[str] | None = None) -> int:
    """What `python -m services.<service> [--config FILE]` does.

    A `[mesh]` table and one of the service's name come from the file, from the environment (environment.py) or from both.
    """
    parser = argparse.ArgumentParser(prog=f"python -m services.{service}", description=f"Runs the {service} of a Buildmesh fleet.")
    parser.add_argument("--config", type=Path, help="TOML file with [mesh] and one table per service")
    arguments = parser.parse_args(argv)
    try:
        tables = settings.read_toml(arguments.config) if arguments.config else {}
        tables = overlaid(tables, os.environ, {"mesh": MeshConfig, service: config_type})
        mesh_config = settings.build(MeshConfig, tables.get("mesh", {}), where="mesh")
        config = settings.build(config_type, tables.get(service, {}), where=service)
    except InvalidInput as error:
        print(f"error: {error}", file=sys.stderr)
        return 1

    async def start(mesh: Mesh) -> None:
        await run(config, mesh)

    return run_loop(Program(mesh=mesh_config, services={service: start}, environment=os.environ))
