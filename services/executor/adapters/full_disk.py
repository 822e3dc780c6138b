"""An executor whose disk is full leaves the work to the others, as long as there are any, and takes some again when there is room.

It holds its own free slots meanwhile. What failed for want of room is told as lost: the solver asks somebody else.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, TypeVar

from shared.bus.calls import Served
from shared.errors import CallLost
from shared.telemetry import Log

__all__ = ["FullDisk"]

LEAST: Final = 256 << 20  # bytes
SHARE: Final = 50  # of a small disk the fiftieth part
LOOK: Final = 1.0

R = TypeVar("R")
T = TypeVar("T")
Room = Callable[[Path], tuple[int, int]]


def room_of(folder: Path) -> tuple[int, int]:
    """Free and all bytes of its file system."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


class FullDisk:
    """Of the folder `root`. `others()`: whether there is anybody to leave work to; `width`: how many slots there are."""

    def __init__(
        self, root: Path, slots: asyncio.Semaphore, width: int, *, others: Callable[[], bool], log: Log, room: Room = room_of
    ) -> None:
        self._root, self._slots, self._width, self._others, self._log, self._room = root, slots, width, others, log, room

    def is_full(self) -> bool:
        """And somebody else may have room."""
        free, size = self._room(self._root)
        return free < min(LEAST, size // SHARE) and self._others()

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(LOOK)
            if self.is_full():
                self._log.warning("the disk is full: others have to do the work", folder=str(self._root))
                await self._rest()

    async def _rest(self) -> None:
        """Take each slot that gets free."""
        held = 0
        try:
            while self.is_full():
                if held < self._width and not self._slots.locked():
                    await self._slots.acquire()
                    held += 1
                else:
                    await asyncio.sleep(LOOK)
        finally:
            for _ in range(held):
                self._slots.release()

    def leaving(self, handler: Callable[[R, Served], Awaitable[T]]) -> Callable[[R, Served], Awaitable[T]]:
        """A handler whose failures on a full disk are CallLost: its caller asks again."""

        async def handle(request: R, served: Served) -> T:
            try:
                return await handler(request, served)
            except Exception as error:
                if self.is_full():
                    raise CallLost(f"the disk of this executor is full: {error}") from error
                raise

        return handle
