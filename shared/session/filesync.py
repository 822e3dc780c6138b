"""Local directories of the client: `FileSync/DiffCopy`, in which the daemon receives.

After session/filesync/filesync.go and source/local/source.go of BuildKit.
"""

from __future__ import annotations

import asyncio
import os
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from shared.errors import BuildmeshError, InvalidInput, Unavailable
from shared.fsutil import packets
from shared.fsutil.packets import Malformed, Stat
from shared.fsutil.receiver import METADATA_FILE, Differ, Receiver, SenderError, Step
from shared.session.ports import SessionLinks, SessionStream
from shared.session.tree_batches import BatchWriter
from shared.session.tree_reader import walk

METHOD: Final = "/moby.filesync.v1.FileSync/DiffCopy"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalRequest:
    """What to ask the client for. An empty tuple of patterns = no filter of that kind."""

    name: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow: tuple[str, ...] = ()

    def metadata(self) -> list[tuple[str, str]]:
        pairs = [("dir-name", self.name)]
        for key, values in (
            ("include-patterns", self.include),
            ("exclude-patterns", self.exclude),
            ("followpaths", self.follow),
        ):
            pairs += _encoded(key, values)
        return pairs


def _encoded(key: str, values: Sequence[str]) -> list[tuple[str, str]]:
    """Values as metadata; when any has a character outside ASCII all are query-escaped, and a flag says so."""
    if all(value.isascii() and value.isprintable() for value in values):
        return [(key, value) for value in values]
    return [(f"{key}-encoded", "1"), *((key, urllib.parse.quote_plus(value)) for value in values)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """How a transfer ended. `changed` holds every path made or written anew, `removed` the topmost ones that went."""

    changed: tuple[str, ...]
    removed: tuple[str, ...]
    bytes_received: int


async def receive_local(
    links: SessionLinks,
    session_id: str,
    request: LocalRequest,
    destination: str | os.PathLike[str],
    *,
    threads: Executor,
    differ: Differ = Differ.METADATA,
    metadata_only: Callable[[Stat], bool] | None = None,
    rewrite: Callable[[Stat], Stat] | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> Received:
    """Bring `destination` to what the client's directory holds now, fetching only what differs.

    `on_progress` gets the bytes received so far, for each chunk; limit its rate yourself. With `metadata_only`, all stats go into the file
    `.fsutil-metadata`. Raises SessionGone, Unsupported (no local sources), NotFound (`no access allowed to dir "x"`), Unavailable.
    After an error the destination is neither old nor new.
    """
    loop = asyncio.get_running_loop()
    async with links.open(session_id, METHOD, metadata=request.metadata()) as stream:
        # the client walks its side meanwhile
        existing = await loop.run_in_executor(threads, scan, destination)
        receiver = Receiver(existing, differ=differ, metadata_only=metadata_only, rewrite=rewrite)
        await receive_tree(stream, receiver, destination, threads=threads, on_progress=on_progress)
    if metadata_only is not None:
        await loop.run_in_executor(threads, _write_metadata, destination, bytes(receiver.metadata))
    return Received(changed=tuple(receiver.changed), removed=tuple(receiver.removed), bytes_received=receiver.received)


def scan(destination: str | os.PathLike[str]) -> Mapping[str, Stat]:
    """What a destination holds, for Receiver's `existing`. Blocking."""
    return {stat.path: stat for stat in walk(os.fspath(destination), xattrs=False) if stat.path != METADATA_FILE}


def _write_metadata(destination: str | os.PathLike[str], content: bytes) -> None:
    path = os.path.join(destination, METADATA_FILE)
    if os.path.lexists(path):
        os.unlink(path)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(fd, "wb") as file:
        file.write(content)


async def receive_tree(
    stream: SessionStream,
    receiver: Receiver,
    destination: str | os.PathLike[str],
    *,
    threads: Executor,
    owner: tuple[int, int] | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> None:
    """Run a receiver against an open stream until both sides are done. A failure here is told to the sender before it is raised."""
    loop = asyncio.get_running_loop()
    writer = await loop.run_in_executor(threads, lambda: BatchWriter(destination, threads=threads, owner=owner))
    steps = _Steps(loop, threads, writer)
    try:
        await _transfer(stream, receiver, steps, on_progress)
    except (Malformed, ValueError) as error:
        await _tell(stream, str(error))
        raise InvalidInput(f"client sent an unusable file list: {error}") from None
    except SenderError as error:
        raise Unavailable(f"error from sender: {error}") from None
    except OSError as error:
        await _tell(stream, str(error))
        raise
    finally:
        # even when we are cancelled, nothing writes to the destination any more once this returns
        steps.abandon()
        await _to_the_end(asyncio.wrap_future(threads.submit(writer.close)))


async def _to_the_end(work: asyncio.Future[None]) -> None:
    """Waits even when cancelled meanwhile; the cancellation is raised afterwards."""
    cancelled: asyncio.CancelledError | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled


async def _transfer(stream: SessionStream, receiver: Receiver, steps: _Steps, on_progress: Callable[[int], object] | None) -> None:
    while not receiver.complete:
        chunk = await stream.receive()
        if not chunk:
            receiver.end()
        await steps.put(receiver.feed(chunk))
        wanted = receiver.take()
        if wanted:
            await stream.send(wanted)
        if on_progress is not None:
            on_progress(receiver.received)
    await steps.flush()
    await stream.send(receiver.finish())
    await stream.close_send()
    while chunk := await stream.receive():
        receiver.feed(chunk)
    receiver.end()


class _Steps:
    """Hands steps to the writer's thread: while one batch is written the next is received, and no more than that."""

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: Executor, writer: BatchWriter) -> None:
        self._loop = loop
        self._threads = threads
        self._writer = writer
        self._busy: asyncio.Future[None] | None = None
        self._waiting: list[Step] = []

    async def put(self, steps: list[Step]) -> None:
        self._waiting += steps
        if self._busy is not None and (self._busy.done() or len(self._waiting) > 2000 or _size(self._waiting) > 4 << 20):
            await self._settle()
        if self._busy is None and self._waiting:
            batch, self._waiting = self._waiting, []
            self._busy = self._loop.run_in_executor(self._threads, self._writer.apply, batch)

    async def flush(self) -> None:
        while self._busy is not None or self._waiting:
            await self._settle()
            await self.put([])

    def abandon(self) -> None:
        """Nobody will look at the batch that is being written."""
        if self._busy is not None:
            self._busy.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def _settle(self) -> None:
        if self._busy is not None:
            busy, self._busy = self._busy, None
            await busy


def _size(steps: list[Step]) -> int:
    return sum(len(data) for step in steps if (data := getattr(step, "data", None)))


async def _tell(stream: SessionStream, text: str) -> None:
    """An ERR packet, as the peer would otherwise only see the call cancelled."""
    try:
        await stream.send(packets.error_packet(text))
    except BuildmeshError:
        return
