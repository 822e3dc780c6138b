"""Pipes and terminals read and written by the loop, as slowly as the other side goes."""

from __future__ import annotations

import asyncio
import os

__all__ = ["CHUNK", "read_some", "write_all"]

CHUNK = 64 << 10


async def read_some(descriptor: int) -> bytes:
    """What is there (at most 64 KiB), once something is; empty at the end. The descriptor must not block."""
    while True:
        try:
            return os.read(descriptor, CHUNK)
        except BlockingIOError:
            await _ready(descriptor, reading=True)
        except OSError:  # a terminal whose other end is closed says EIO
            return b""


async def write_all(descriptor: int, data: bytes) -> bool:
    """False when nobody reads it any more. The descriptor must not block."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            await _ready(descriptor, reading=False)
        except OSError:
            return False
    return True


async def _ready(descriptor: int, *, reading: bool) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    add, remove = (loop.add_reader, loop.remove_reader) if reading else (loop.add_writer, loop.remove_writer)

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    add(descriptor, wake)
    try:
        await ready
    finally:
        remove(descriptor)
