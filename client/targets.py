"""Takes what exporters send: directories by file sync, archives as bytes (`FileSend/DiffCopy`, BuildKit session/filesync)."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from client.streams import CallBytes
from shared.errors import NotFound
from shared.fsutil.receiver import Differ, Receiver
from shared.rpc import Call, Handler
from shared.session.bytes_pipe import Unwrapper
from shared.session.filesync import receive_tree, scan

_FILE_SEND: Final = "/moby.filesync.v1.FileSend/DiffCopy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where an exporter's result goes: a folder, a file, or standard output (`path` is `-`)."""

    path: str
    is_folder: bool
    mirror: bool = False
    """A folder: remove what is not in the result (`mode=delete`)."""


class Targets:
    """`targets`: exporter's index in the request → its target."""

    def __init__(self, targets: Mapping[int, Target], *, threads: Executor) -> None:
        self._targets = dict(targets)
        self._threads = threads

    def routes(self) -> dict[str, Handler]:
        return {_FILE_SEND: self._file_send} if self._targets else {}

    async def _file_send(self, call: Call) -> None:
        text = call.metadata.get("buildkit-attachable-exporter-id", "0")
        number = int(text) if text.isascii() and text.isdigit() else 0
        target = self._targets.get(number)
        if target is None:
            raise NotFound(f"exporter {number} not found")
        if target.is_folder:
            await self._receive_folder(call, target)
        else:
            await self._receive_file(call, target.path)

    async def _receive_folder(self, call: Call, target: Target) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._threads, lambda: os.makedirs(target.path, mode=0o700, exist_ok=True))
        existing = await loop.run_in_executor(self._threads, scan, target.path) if target.mirror else {}
        owner = (os.getuid(), os.getgid())
        receiver = Receiver(existing, differ=Differ.NONE, rewrite=lambda stat: stat._replace(uid=owner[0], gid=owner[1]))
        await receive_tree(CallBytes(call), receiver, target.path, threads=self._threads, owner=owner)

    async def _receive_file(self, call: Call, path: str) -> None:
        """Written beside its place and renamed when complete, so that a broken build leaves no half archive."""
        loop = asyncio.get_running_loop()
        unwrap = Unwrapper()
        part = path + ".part"
        file = sys.stdout.buffer if path == "-" else await loop.run_in_executor(self._threads, open, part, "wb")
        try:
            while chunk := await call.chunk():
                await loop.run_in_executor(self._threads, file.write, unwrap.feed(chunk))
            await loop.run_in_executor(self._threads, file.flush)
        except BaseException:
            if path != "-":
                os.unlink(part)
            raise
        finally:
            if path != "-":
                file.close()
        if path != "-":
            os.replace(part, path)
