"""LLBBridge.ExecProcess: one stream for all processes that a driver talks to (frontend/gateway/gateway.go, gateway.proto).

Each process has a stream of its own to the executor that runs it, on which the same ExecMessages travel: Started first, then
output and Exit, Done last. This side only sorts messages by process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from google.protobuf.message import DecodeError

from shared.bridge import codec
from shared.errors import AlreadyExists, BuildmeshError, Exhausted, InvalidInput, NotFound, first_failure
from shared.pb import gateway_pb2 as pb
from shared.rpc import Call, MessageReader, frame, status_of
from shared.rpc.status import pack_details
from shared.session.landing import Landing, StreamEnd

ATTACH: Final = "/buildmesh.process.v1.Process/Attach"
"""The method by which an executor opens a process's stream."""
UNKNOWN_STATUS: Final = 255
"""The code of a process that never ran."""
MOST: Final = 1000
"""Processes on one stream, running or over."""
WHY: Final = 4.0
"""Seconds in which the order may tell why its stream broke off: that its executor is gone is known two or three seconds later."""
LAST_WORDS: Final = 10.0
"""Seconds that a stream may last longer than its process."""
_WAITING: Final = 64
"""Messages for a process that has not begun yet, or that reads slowly."""

OpenLanding = Callable[[], AbstractAsyncContextManager[Landing]]


class _Process:
    """One process as its driver sees it."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[bytes] = asyncio.Queue(_WAITING)
        self.started = False  # the driver has been told
        self.over = False

    async def hear(self, data: bytes) -> None:
        """A message for it; nobody minds one that comes too late."""
        if not self.over:
            await self.inbox.put(data)

    def end(self) -> None:
        """Drop what it did not read; whoever waits to put more goes on."""
        self.over = True
        while not self.inbox.empty():
            self.inbox.get_nowait()


class Processes:
    """The processes of one ExecProcess call. `ask` orders at the build; `landing` makes places for streams."""

    def __init__(self, call: Call, ask: Callable[[Any], Awaitable[Any]], landing: OpenLanding) -> None:
        self._call, self._ask, self._landing = call, ask, landing
        self._processes: dict[str, _Process] = {}

    async def serve(self) -> None:
        """Until the driver has half-closed and all processes are over. Cancelling kills them. The first error ends everything."""
        self._call.send_initial_metadata()
        try:
            async with asyncio.TaskGroup() as tasks:
                async for data in self._call.messages():
                    await self._take(_parsed(data), data, tasks)
        except BaseExceptionGroup as group:
            raise first_failure(group) from None

    async def _take(self, message: pb.ExecMessage, data: bytes, tasks: asyncio.TaskGroup) -> None:
        id = message.ProcessID
        if not id:
            raise InvalidInput("ProcessID required")
        process = self._processes.get(id)
        if message.WhichOneof("Input") == "Init":
            if process is not None:
                raise AlreadyExists(f"Process {id[:200]} already exists")
            if len(self._processes) >= MOST:
                raise Exhausted(f"more than {MOST} processes on one stream")
            process = self._processes[id] = _Process()
            tasks.create_task(self._run(id, message.Init, process), name="container process")
        elif process is None:
            raise NotFound(f'IO for process "{id[:200]}" not found')
        else:
            await process.hear(data)

    async def _run(self, id: str, init: pb.InitMessage, process: _Process) -> None:
        """What keeps one process from running is told as its end: an error of the stream would take along all others."""
        try:
            await self._run_to_its_end(id, init, process)
        except* BuildmeshError as group:
            for message in (pb.ExecMessage(Started=pb.StartedMessage()), *ending(UNKNOWN_STATUS, first_failure(group))):
                if not (process.started and message.WhichOneof("Input") == "Started"):
                    message.ProcessID = id
                    await self._call.send(message.SerializeToString())

    async def _run_to_its_end(self, id: str, init: pb.InitMessage, process: _Process) -> None:
        try:
            async with self._landing() as landing, asyncio.TaskGroup() as tasks:
                talking = tasks.create_task(self._talk_or_learn_why(landing, process), name="container process stream")
                await self._ask(codec.read_process(id, init, landing.session_id))
                async with asyncio.timeout(LAST_WORDS):
                    await talking
        finally:
            process.end()

    async def _talk_or_learn_why(self, landing: Landing, process: _Process) -> None:
        try:
            await self._talk(landing, process)
        except* BuildmeshError:
            await asyncio.sleep(WHY)
            raise

    async def _talk(self, landing: Landing, process: _Process) -> None:
        stream = await landing.arrival()
        async with asyncio.TaskGroup() as tasks:
            upward = tasks.create_task(_upward(stream, process))
            await self._downward(stream, process)
            upward.cancel()
        stream.leave()

    async def _downward(self, stream: StreamEnd, process: _Process) -> None:
        reader = MessageReader()
        while chunk := await stream.receive():
            reader.feed(chunk)
            while (data := reader.next()) is not None:
                process.started = True
                await self._call.send(data)


def ending(code: int, error: BaseException | None) -> tuple[pb.ExecMessage, pb.ExecMessage]:
    """The last two messages of a process. A code other than 0 comes with an error."""
    verdict = pb.ExitMessage(Code=code)
    if error is not None:
        verdict.Error.ParseFromString(pack_details(status_of(error)))
    return pb.ExecMessage(Exit=verdict), pb.ExecMessage(Done=pb.DoneMessage())


async def _upward(stream: StreamEnd, process: _Process) -> None:
    try:
        while True:
            await stream.send(frame(await process.inbox.get()))
    except BuildmeshError:
        process.end()  # the other side listens no more; what it said last is still read


def _parsed(data: bytes) -> pb.ExecMessage:
    try:
        return pb.ExecMessage.FromString(data)
    except DecodeError as error:
        raise InvalidInput(f"request is not an ExecMessage: {error}") from None
