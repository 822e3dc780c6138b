"""Sending trees and files: to the client's exporter targets (`FileSend/DiffCopy`), and, in our own client, to a daemon that syncs.

After session/filesync/filesync.go and fsutil send.go.
"""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from itertools import islice
from typing import Final, Protocol

from shared.errors import AlreadyExists, BuildmeshError, InvalidInput, Unavailable
from shared.fsutil import packets
from shared.fsutil.packets import Malformed, Stat
from shared.fsutil.sender import PIECE, FileRequest, ReceiverError, Sender
from shared.session import bytes_pipe
from shared.session.once import once as named
from shared.session.ports import SessionLinks

METHOD: Final = "/moby.filesync.v1.FileSend/DiffCopy"
_BATCH: Final = 512
_CHUNK: Final = 512 * 1024

OpenFile = Callable[[str], int | None]
"""Path → descriptor for reading, or None (the file then arrives empty)."""


class ByteStream(Protocol):
    """Either end of a call: framed chunks in both directions, an empty one at the end."""

    async def send(self, chunk: bytes) -> None: ...

    async def receive(self) -> bytes: ...


async def send_tree(
    stream: ByteStream,
    entries: Iterable[Stat],
    open_file: OpenFile,
    *,
    threads: Executor,
    on_progress: Callable[[int], object] | None = None,
) -> int:
    """Send entries, in the protocol's order, and the files that the peer asks for; returns the bytes sent once it has everything.

    `entries` is iterated in `threads`. Half-closing and reading to the end is the caller's. Raises Unavailable with the receiver's error.
    """
    transfer = _Transfer(stream, open_file, threads, on_progress)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(transfer.list_entries(iter(entries)))
            group.create_task(transfer.answer())
            group.create_task(transfer.send_files())
    except ExceptionGroup as group_error:
        raise _told(group_error.exceptions[0]) from None
    finally:
        transfer.close()
    return transfer.sent


def _told(error: Exception) -> Exception:
    match error:
        case Malformed():
            return InvalidInput(f"receiver broke the protocol: {error}")
        case ReceiverError():
            return Unavailable(f"error from receiver: {error}")
        case _:
            return error


class _Transfer:
    def __init__(
        self,
        stream: ByteStream,
        open_file: OpenFile,
        threads: Executor,
        on_progress: Callable[[int], object] | None,
    ) -> None:
        self.sent = 0
        self._stream = stream
        self._threads = threads
        self._on_progress = on_progress
        self._sender = Sender()
        self._files = _FileChunks(open_file)
        self._asked = asyncio.Event()

    async def list_entries(self, entries: Iterator[Stat]) -> None:
        loop = asyncio.get_running_loop()
        try:
            while batch := await loop.run_in_executor(self._threads, lambda: list(islice(entries, _BATCH))):
                await self._send(self._sender.entries(batch))
        except OSError as error:
            await self._send(packets.error_packet(str(error)))
            raise
        await self._send(self._sender.end_of_entries())

    async def answer(self) -> None:
        """Requests until the peer has all, then our FIN."""
        while not self._sender.finished:
            chunk = await self._stream.receive()
            if not chunk:
                raise Malformed("the receiver left before the end")
            self._files.queue.extend(self._sender.feed(chunk))
            self._asked.set()
        await self._send(packets.FIN)
        self._asked.set()

    async def send_files(self) -> None:
        loop = asyncio.get_running_loop()
        while not self._sender.finished:
            await self._asked.wait()
            self._asked.clear()
            while self._files.queue or self._files.busy:
                await self._send(await loop.run_in_executor(self._threads, self._files.next_chunk))

    async def _send(self, chunk: bytes) -> None:
        await self._stream.send(chunk)
        self.sent += len(chunk)
        if self._on_progress is not None:
            self._on_progress(self.sent)

    def close(self) -> None:
        self._files.close()


class _FileChunks:
    """Reads queued files one after the other into chunks of framed packets. Blocking."""

    def __init__(self, open_file: OpenFile) -> None:
        self.queue: deque[FileRequest] = deque()
        self._open_file = open_file
        self._current: tuple[int, int] | None = None

    @property
    def busy(self) -> bool:
        return self._current is not None

    def next_chunk(self) -> bytes:
        out: list[bytes] = []
        size = 0
        while size < _CHUNK and (self._current is not None or self.queue):
            if self._current is None:
                request = self.queue.popleft()
                fd = self._open_file(request.path)
                if fd is None:
                    out.append(packets.data_packet(request.number, b""))
                    continue
                self._current = (request.number, fd)
            number, fd = self._current
            data = os.read(fd, PIECE)
            out.append(packets.data_packet(number, data))
            size += len(data) + 64
            if not data:
                self.close()
        return b"".join(out)

    def close(self) -> None:
        if self._current is not None:
            os.close(self._current[1])
            self._current = None


def _target(exporter_id: int, metadata: Mapping[str, str], *, multi_platform: bool) -> list[tuple[str, str]]:
    pairs = [("buildkit-attachable-exporter-id", str(exporter_id))]
    pairs += [(f"exporter-md-{key}", value) for key, value in metadata.items()]
    if multi_platform:
        pairs.append(("buildkit-exporter-multi-platform", "1"))
    return pairs


async def export_tree(
    links: SessionLinks,
    session_id: str,
    exporter_id: int,
    entries: Iterable[Stat],
    open_file: OpenFile,
    *,
    threads: Executor,
    multi_platform: bool = False,
    on_progress: Callable[[int], object] | None = None,
) -> int:
    """Send a tree to the client's directory target `exporter_id`; returns the bytes sent. Raises what the client answers."""
    pairs = _target(exporter_id, {}, multi_platform=multi_platform)
    async with links.open(session_id, METHOD, metadata=pairs) as stream:
        sent = await send_tree(stream, entries, open_file, threads=threads, on_progress=on_progress)
        await stream.close_send()
        while await stream.receive():
            pass
        return sent


async def export_file(
    links: SessionLinks,
    session_id: str,
    exporter_id: int,
    chunks: AsyncIterator[bytes],
    *,
    metadata: Mapping[str, str] | None = None,
    once: str = "",
) -> int:
    """Send a single file (a tar) to the client's file target; returns the bytes sent.

    `once`: the name of this output in the session. Raises AlreadyExists when it has arrived before (`is_delivered`), or when the client
    has no use for it (its writer is nil), which exporters of archives count as success.
    """
    sent = 0
    pairs = [*_target(exporter_id, metadata or {}, multi_platform=False), *named(once)]
    async with links.open(session_id, METHOD, metadata=pairs) as stream:
        try:
            async for chunk in chunks:
                await stream.send(bytes_pipe.wrap(chunk))
                sent += len(chunk)
            await stream.close_send()
        except AlreadyExists:
            raise
        except BuildmeshError:
            await stream.receive()  # the client's own status says why it broke off
            raise
        while await stream.receive():
            pass
    return sent
