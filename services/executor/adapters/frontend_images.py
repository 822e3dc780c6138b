"""Frontends that are images: a container whose process is a gRPC client of the build's bridge, over its stdin and stdout.

It gets the bridge of its own build and nothing else (frontend/gateway/gateway.go Solve).
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from services.executor.adapters.container import Container, checked_exec, container_of
from services.executor.adapters.exec_given import ExecParts
from services.executor.adapters.frontend_server import serve
from services.executor.adapters.materialise import Materialise
from services.executor.adapters.process_streams import open_streams
from services.executor.adapters.reporter import BatchReporter
from services.executor.core.places import Places
from shared.bridge.service import Bridge, WorkerFacts
from shared.bus.calls import Calls, Served
from shared.errors import BuildFailed, InvalidInput
from shared.llb import ExecOp
from shared.model import Digest
from shared.rpc import Call
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
    BridgeResult,
    BridgeReturn,
    Done,
    RunImage,
)

__all__ = ["FrontendImages", "OwnBuild"]

METADATA: Final = "/run/config/buildkit/metadata"
DEFINITION: Final = "frontend.bin"
_NOWHERE = Digest("sha256:" + "0" * 64)


class FrontendImages:
    """Handler of RunImage."""

    def __init__(
        self, *, home: str, parts: ExecParts, materialise: Materialise, places: Places, calls: Calls, landings: Landings, log: Log
    ) -> None:
        self._home, self._parts, self._materialise, self._places = home, parts, materialise, places
        self._calls, self._landings, self._log = calls, landings, log

    async def run(self, request: RunImage, served: Served) -> BridgeResult:
        """What it returns. Raises what it returns as its error, else BuildFailed when it ends badly; RefLost naming its root; Exhausted
        when there is no room.
        """
        with self._places.take(request.scope.identity):
            return await self._run(request)

    async def _run(self, request: RunImage) -> BridgeResult:
        op, kind = checked_exec(request.op)
        if len(op.inputs) != 1:
            raise InvalidInput(f"a frontend has one input, not {len(op.inputs)}")
        inputs = await self._materialise.all((request.root,), request.scope, BatchReporter(_NOWHERE))
        folders = {METADATA: {DEFINITION: request.definition}}
        async with container_of(self._parts, kind, inputs, scope=request.scope, platform=request.platform, folders=folders) as container:
            return await self._drive(container, kind, OwnBuild(request, self._home, self._calls, self._landings))

    async def _drive(self, container: Container, process: ExecOp, build: OwnBuild) -> BridgeResult:
        with open_streams((0, 1, 2), terminal=False) as streams:
            running = await container.start(process, streams, terminal=False)
            try:
                code, reason = await serve(running, streams, Bridge(build).routes(), self._log)
            finally:
                await running.kill()
                container.over(running)
        return build.outcome(code, reason)


class OwnBuild:
    """The build that a frontend drives (port Driven): inputs and Return are its own affair, the rest is asked at the build's bridge."""

    def __init__(self, request: RunImage, home: str, calls: Calls, landings: Landings) -> None:
        self._request, self._home, self._calls, self._landings = request, home, calls, landings
        self._returned: BridgeReturn | None = None

    async def workers(self, call: Call) -> Sequence[WorkerFacts]:
        pong: BridgePong = await self._calls.call(self._request.bridge, BridgePing(caller=self._request.caller))
        return pong.workers

    async def ask(self, call: Call, message: Any) -> Any:
        match message:
            case BridgeInputs():
                return BridgeDefinitions(definitions=self._request.inputs)
            case BridgeReturn():
                return self._take(message)
            case BridgeNewContainer():  # its streams can come here only
                message = replace(message, executor=self._home)
        return await self._calls.call(self._request.bridge, replace(message, caller=self._request.caller))

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
