"""One process of a container and the stream of ExecMessages between it and its driver (gateway.proto ExecMessage)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import Final

from google.protobuf.message import DecodeError

from services.executor.adapters.container import Container, Running
from services.executor.adapters.descriptors import read_some, write_all
from services.executor.adapters.process_streams import Streams, open_streams
from shared.bridge.processes import ending
from shared.errors import BuildFailed, BuildmeshError, Canceled, InvalidInput, first_failure
from shared.llb import ExecOp
from shared.pb import gateway_pb2 as pb
from shared.rpc import MessageReader, frame
from shared.session.ports import SessionStream
from shared.wire.messages import RunProcess

__all__ = ["talk"]

LINGER: Final = 1.0
"""Seconds that output is still read after the end of a process: something that it left behind may hold it open."""
GOODBYE: Final = 5.0
"""Seconds that the driver's side has to take what was said last."""


async def talk(container: Container, process: ExecOp, request: RunProcess, stream: SessionStream) -> None:
    """Start the process and serve its stream until it is over. Cancelling kills it.

    Raises what keeps it from running, InvalidInput for nonsense from the driver.
    """
    await _Talk(container, process, request, stream).run()


class _Talk:
    def __init__(self, container: Container, process: ExecOp, request: RunProcess, stream: SessionStream) -> None:
        self._container, self._process, self._request, self._stream = container, process, request, stream

    async def run(self) -> None:
        await self._say(pb.ExecMessage(Started=pb.StartedMessage()))
        with open_streams(self._request.fds, terminal=self._request.tty) as streams:
            code = await self._one(streams)
        await self._end(code)

    def _verdict(self, code: int) -> BuildmeshError | None:
        if code == 0:
            return None
        if self._container.closing.is_set():
            return Canceled(f"exit code: {code}: context canceled")
        return BuildFailed(f"exit code: {code}")

    async def _one(self, streams: Streams) -> int:
        """The exit code."""
        running = await self._container.start(self._process, streams, terminal=self._request.tty)
        try:
            async with asyncio.TaskGroup() as tasks:
                listening = tasks.create_task(self._listen(running, streams), name="process input")
                code = await self._output(running, streams)
                listening.cancel()
            code = code if code >= 0 else 128 - code
            if (error := self._verdict(code)) is not None:
                self._container.failed(error)
        except BaseExceptionGroup as group:
            raise first_failure(group) from None
        finally:
            await running.kill()
            self._container.over(running)
        return code

    async def _output(self, running: Running, streams: Streams) -> int:
        """All of it; and the end of the process."""
        limit = asyncio.timeout(None)
        with contextlib.suppress(TimeoutError):
            async with limit, asyncio.TaskGroup() as tasks:
                for number, descriptor in streams.sinks.items():
                    tasks.create_task(self._forward(number, descriptor), name="process output")
                await running.child.wait_process()
                limit.reschedule(asyncio.get_running_loop().time() + LINGER)
        return await running.child.wait_process()

    async def _forward(self, number: int, descriptor: int) -> None:
        while data := await read_some(descriptor):
            await self._say(pb.ExecMessage(File=pb.FdMessage(Fd=number, Data=data)))

    async def _end(self, code: int) -> None:
        for number in self._request.fds:
            if number:
                await self._say(pb.ExecMessage(File=pb.FdMessage(Fd=number, EOF=True)))
        for message in ending(code, self._verdict(code)):
            await self._say(message)
        await self._stream.close_send()
        with contextlib.suppress(TimeoutError, BuildmeshError):
            async with asyncio.timeout(GOODBYE):
                while await self._stream.receive():
                    pass

    async def _say(self, message: pb.ExecMessage) -> None:
        message.ProcessID = self._request.process
        await self._stream.send(frame(message.SerializeToString()))

    async def _listen(self, running: Running, streams: Streams) -> None:
        reader = MessageReader()
        while chunk := await self._stream.receive():
            reader.feed(chunk)
            while (data := reader.next()) is not None:
                await self._hear(_parsed(data), running, streams)
        streams.close_source()

    async def _hear(self, message: pb.ExecMessage, running: Running, streams: Streams) -> None:
        match message.WhichOneof("Input"):
            case "File":
                await _feed(message.File, streams)
            case "Resize":
                streams.resize(message.Resize.Rows, message.Resize.Cols)
                await _told_of_resize(running)
            case "Signal":
                await running.signal(_signal(message.Signal.Name))
            case other:
                raise InvalidInput(f"unexpected message {other} for a process")


async def _feed(message: pb.FdMessage, streams: Streams) -> None:
    """Nobody minds input that comes too late."""
    if message.Fd != 0 or streams.source < 0:
        return
    if message.Data and not await write_all(streams.source, message.Data):
        streams.close_source()
    if message.EOF:
        streams.close_source()


async def _told_of_resize(running: Running) -> None:
    """The runtime copies the size of our terminal to the container's when it gets the signal; before the process runs it does so itself."""
    if running.pid() and not running.child.ended:
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.child.pid, signal.SIGWINCH)


def _signal(name: str) -> signal.Signals:
    try:
        return signal.Signals[f"SIG{name.removeprefix('SIG')}"]
    except KeyError:
        raise InvalidInput(f"Unknown signal {name[:60]}") from None


def _parsed(data: bytes) -> pb.ExecMessage:
    try:
        return pb.ExecMessage.FromString(data)
    except DecodeError as error:
        raise InvalidInput(f"malformed message for a process: {error}") from None
