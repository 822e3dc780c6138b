"""Frontends that are images: a container whose process is a gRPC client of the build's bridge, over its stdin and stdout.

It gets the bridge of its own build and nothing else (frontend/gateway/gateway.go Solve, serveLLBBridgeForwarder). What it sends is
hostile input: frames and floods are held back by shared.http2, calls by `_CALLS` at a time, what it prints by `_QUIET`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from services.executor.adapters.container import Container, Running, checked_exec, container_of
from services.executor.adapters.descriptors import read_some, write_all
from services.executor.adapters.exec_given import ExecParts
from services.executor.adapters.materialise import Materialise
from services.executor.adapters.process_streams import Streams, open_streams
from services.executor.adapters.reporter import BatchReporter
from shared.bridge.service import SERVICE, Bridge, WorkerFacts
from shared.bus.calls import Calls, Served
from shared.errors import BuildFailed, InvalidInput
from shared.http2 import Limits
from shared.llb import ExecOp
from shared.model import Digest
from shared.rpc import Call, Handler, Interceptor, Link, Server
from shared.run.landings import Landings
from shared.session.landing import Landing
from shared.telemetry import Log
from shared.wire.failure import from_failure
from shared.wire.messages import (
    BridgeDefinitions,
    BridgeInputs,
    BridgeNewContainer,
    BridgePing,
    BridgePong,
    BridgeResolveSource,
    BridgeResult,
    BridgeReturn,
    BridgeSolve,
    Done,
    RunImage,
)

__all__ = ["FrontendImages"]

METADATA: Final = "/run/config/buildkit/metadata"
DEFINITION: Final = "frontend.bin"
_NOWHERE = Digest("sha256:" + "0" * 64)
_CALLS: Final = 64
"""Calls of one frontend that are being answered; more wait."""
_LIMITS: Final = Limits(max_streams=1024, max_unread=32 << 20)
_RELAX: Final = 10.0
_QUIET: Final = 1 << 20
"""Bytes that a frontend may print before it is read more slowly."""
_SHOWN: Final = 4096


class FrontendImages:
    """Handler of RunImage."""

    def __init__(self, *, home: str, parts: ExecParts, materialise: Materialise, calls: Calls, landings: Landings, log: Log) -> None:
        self._home, self._parts, self._materialise = home, parts, materialise
        self._calls, self._landings, self._log = calls, landings, log

    async def run(self, request: RunImage, served: Served) -> BridgeResult:
        """What it returns. Raises what it returns as its error, else BuildFailed when it ends badly; RefLost naming its root."""
        op, kind = checked_exec(request.op)
        if len(op.inputs) != 1:
            raise InvalidInput(f"a frontend has one input, not {len(op.inputs)}")
        inputs = await self._materialise.all((request.root,), request.scope, BatchReporter(_NOWHERE))
        folders = {METADATA: {DEFINITION: request.definition}}
        async with container_of(self._parts, kind, inputs, scope=request.scope, platform=request.platform, folders=folders) as container:
            return await self._drive(container, kind, _OwnBuild(request, self._home, self._calls, self._landings))

    async def _drive(self, container: Container, process: ExecOp, build: _OwnBuild) -> BridgeResult:
        with open_streams((0, 1, 2), terminal=False) as streams:
            running = await container.start(process, streams, terminal=False)
            try:
                code, reason = await self._serve(running, streams, build)
            finally:
                await running.kill()
                container.over(running)
        return build.outcome(code, reason)

    async def _serve(self, running: Running, streams: Streams, build: _OwnBuild) -> tuple[int, str]:
        """The exit code, and why the connection ended when that came first."""
        pipe = _Pipe(streams)
        server = Server({**Bridge(build).routes(), **_HEALTH}, interceptors=[_some_at_a_time()], limits=_LIMITS)
        async with server.serving([]):
            link = server.link(write=pipe.write, on_end=pipe.end)
            async with asyncio.TaskGroup() as tasks:
                work = [
                    tasks.create_task(pipe.read(link), name="frontend reads"),
                    tasks.create_task(pipe.pump(link), name="frontend writes"),
                    tasks.create_task(_relax(link), name="frontend limits"),
                    tasks.create_task(self._stderr(streams), name="frontend stderr"),
                    tasks.create_task(_killed_when(pipe.ended, running), name="frontend end"),
                ]
                link.flush()
                code = await running.child.wait_process()
                for task in work:
                    task.cancel()
            link.lost(BuildFailed("the frontend has ended"))
        return code, pipe.reason

    async def _stderr(self, streams: Streams) -> None:
        """The end of it goes to the log; a frontend that only prints gets to wait."""
        kept, total = b"", 0
        try:
            while data := await read_some(streams.sinks[2]):
                kept, total = (kept + data)[-_SHOWN:], total + len(data)
                if total > _QUIET:
                    await asyncio.sleep(0.005)
        finally:
            if kept:
                text = "".join(char for char in kept.decode("utf-8", "replace") if char.isprintable() or char == "\n")
                self._log.info("a frontend said", text=text, bytes=total)


class _OwnBuild:
    """The build that a frontend drives (port Driven): inputs and Return are its own affair, the rest is asked at the build's bridge."""

    def __init__(self, request: RunImage, home: str, calls: Calls, landings: Landings) -> None:
        self._request, self._home, self._calls, self._landings = request, home, calls, landings
        self._returned: BridgeReturn | None = None

    async def workers(self, call: Call) -> Sequence[WorkerFacts]:
        pong: BridgePong = await self._calls.call(self._request.bridge, BridgePing())
        return pong.workers

    async def ask(self, call: Call, message: Any) -> Any:
        match message:
            case BridgeInputs():
                return BridgeDefinitions(definitions=self._request.inputs)
            case BridgeReturn():
                return self._take(message)
            case BridgeSolve() | BridgeResolveSource():
                message = replace(message, caller=self._request.caller)
            case BridgeNewContainer():  # its streams can come here only
                message = BridgeNewContainer(
                    id=message.id, op=message.op, refs=message.refs, platform=message.platform, executor=self._home
                )
        return await self._calls.call(self._request.bridge, message)

    def landing(self) -> contextlib.AbstractAsyncContextManager[Landing]:
        return self._landings.open()

    def _take(self, answer: BridgeReturn) -> Done:
        if self._returned is not None:
            raise BuildFailed("gateway result is already set")
        self._returned = answer
        return Done()

    def outcome(self, code: int, reason: str) -> BridgeResult:
        """An error that was returned goes first, then a bad end, then the result (gateway.go Solve)."""
        returned = self._returned
        if returned is not None and returned.failure is not None:
            raise from_failure(returned.failure)
        if reason:
            raise BuildFailed("frontend grpc server closed unexpectedly")
        if code:
            raise BuildFailed(f"exit code: {code if code > 0 else 128 - code}")
        if returned is None:
            raise BuildFailed("no result for incomplete build")
        return returned.result or BridgeResult()


class _Pipe:
    """The bytes of the connection. What can't be written yet waits, and with it everything that would add to it."""

    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._waiting: list[bytes] = []
        self._wake = asyncio.Event()
        self.ended = asyncio.Event()
        self.reason = ""

    def write(self, data: bytes) -> None:
        self._waiting.append(data)
        self._wake.set()

    def end(self, reason: str) -> None:
        """The protocol is over before the process is."""
        self.reason = self.reason or reason or "the connection ended"
        self.ended.set()

    async def read(self, link: Link) -> None:
        """Until the process closes its stdout: it may still end well."""
        while data := await read_some(self._streams.sinks[1]):
            link.receive(data)
            await asyncio.sleep(0)

    async def pump(self, link: Link) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            link.set_blocked(True)
            while self._waiting:
                waiting, self._waiting = self._waiting, []
                if not await write_all(self._streams.source, b"".join(waiting)):
                    return  # it reads no more; its end will tell
            link.set_blocked(False)


async def _killed_when(ended: asyncio.Event, running: Running) -> None:
    await ended.wait()
    await running.kill()


async def _relax(link: Link) -> None:
    while True:
        await asyncio.sleep(_RELAX)
        link.connection.relax()


def _some_at_a_time() -> Interceptor:
    slots = asyncio.Semaphore(_CALLS)

    async def limit(call: Call, handler: Handler) -> None:
        if call.method == SERVICE + "ExecProcess":  # lasts as long as processes do
            await handler(call)
            return
        async with slots:
            await handler(call)

    return limit


async def _healthy(call: Call) -> None:
    await call.recv_one()
    await call.send(b"\x08\x01")  # HealthCheckResponse{status: SERVING}


_HEALTH: Final[dict[str, Handler]] = {"/grpc.health.v1.Health/Check": _healthy}
