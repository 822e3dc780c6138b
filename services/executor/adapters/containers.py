"""The containers that drivers of builds have open here: handlers of OpenContainer, RunProcess, CloseContainer and of their files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from services.executor.adapters.container import Container, checked_exec, container_of
from services.executor.adapters.container_process import talk
from services.executor.adapters.exec_given import ExecParts
from services.executor.adapters.materialise import Materialise
from services.executor.adapters.ref_files import list_in, read_in, stat_in
from services.executor.adapters.reporter import BatchReporter
from services.executor.core.places import Places
from shared.bridge.processes import ATTACH
from shared.bus.calls import Served
from shared.errors import AlreadyExists, BuildFailed, BuildmeshError, InvalidInput, NotFound, Unsupported
from shared.model import Digest
from shared.telemetry import Log
from shared.wire.messages import (
    CloseContainer,
    ContainerOpened,
    Done,
    FileData,
    FileStats,
    OpenContainer,
    ReadContainerDir,
    ReadContainerFile,
    RunProcess,
    StatContainerFile,
)

__all__ = ["Containers"]

T = TypeVar("T")
_NOWHERE = Digest("sha256:" + "0" * 64)


class _Kept:
    """One container and the task that keeps it."""

    def __init__(self, lease: str) -> None:
        self.lease = lease
        self.ready: asyncio.Future[Container] = asyncio.get_running_loop().create_future()
        self.unwanted = asyncio.Event()
        self.gone = asyncio.Event()


class Containers:
    """`tasks` keeps them between calls; a container ends when it is closed, or when its lease does."""

    def __init__(
        self, *, home: str, parts: ExecParts, materialise: Materialise, places: Places, tasks: asyncio.TaskGroup, log: Log
    ) -> None:
        self._home, self._parts, self._materialise, self._tasks, self._log = home, parts, materialise, tasks, log
        self._places = places
        self._kept: dict[str, _Kept] = {}

    async def open(self, request: OpenContainer, served: Served) -> ContainerOpened:
        """Mounts are prepared. Raises RefLost naming an input that can't be had, Exhausted when there is no room."""
        if request.id in self._kept:
            raise AlreadyExists(f"container {request.id[:100]} exists")
        kept = self._kept[request.id] = _Kept(request.scope.lease)
        self._tasks.create_task(self._keep(request, kept), name="container")
        try:
            await asyncio.shield(kept.ready)
        except BaseException:
            kept.unwanted.set()
            raise
        return ContainerOpened(executor=self._home)

    async def _keep(self, request: OpenContainer, kept: _Kept) -> None:
        try:
            with self._places.take(request.scope.identity):
                await self._open(request, kept)
        except BuildmeshError as error:
            self._failed(kept, error)
        except Exception as error:  # a container's trouble is not the executor's
            self._log.error("a container failed in an unforeseen way", error=f"{type(error).__name__}: {error}")
            self._failed(kept, BuildFailed(f"{type(error).__name__}: {error}"))
        finally:
            self._kept.pop(request.id, None)
            kept.gone.set()

    async def _open(self, request: OpenContainer, kept: _Kept) -> None:
        op, kind = checked_exec(request.op)
        if len(request.inputs) != len(op.inputs):
            raise InvalidInput(f"a container of {len(op.inputs)} inputs was given {len(request.inputs)}")
        if kind.devices:
            raise Unsupported("devices in containers are not supported by this server yet")
        inputs = await self._materialise.all(request.inputs, request.scope, BatchReporter(_NOWHERE))
        async with container_of(self._parts, kind, inputs, scope=request.scope, platform=request.platform) as container:
            kept.ready.set_result(container)
            await kept.unwanted.wait()

    def _failed(self, kept: _Kept, error: BuildmeshError) -> None:
        if kept.ready.done():
            self._log.warning("a container could not be taken down", error=error.message)
            return
        kept.ready.set_exception(error)
        kept.ready.exception()  # whoever asked may have left

    async def run(self, request: RunProcess, served: Served) -> Done:
        """Until the process is over; cancelling kills it."""
        container = await self._get(request.container)
        _, process = checked_exec(request.op)
        async with self._parts.links.open(request.landing, ATTACH) as stream:
            await talk(container, process, request, stream)
        return Done()

    async def close(self, request: CloseContainer, served: Served) -> Done:
        """Everything in it is killed. Raises what the first process that failed ended with (frontend/gateway/container Release)."""
        kept = self._kept.get(request.id)
        if kept is None:
            return Done()
        kept.unwanted.set()
        await kept.gone.wait()
        if kept.ready.done() and kept.ready.exception() is None and (failure := kept.ready.result().failure) is not None:
            raise failure
        return Done()

    def end_lease(self, lease: str) -> None:
        """Its build is over, whatever has become of its solver."""
        for kept in self._kept.values():
            if kept.lease == lease:
                kept.unwanted.set()

    async def read(self, request: ReadContainerFile, served: Served) -> FileData:
        """As the file is now."""
        return FileData(
            data=await self._in_tree(
                request.container, request.mount, lambda root: read_in(root, request.path, request.offset, request.length)
            )
        )

    async def list(self, request: ReadContainerDir, served: Served) -> FileStats:
        """Direct children."""
        return FileStats(
            entries=await self._in_tree(request.container, request.mount, lambda root: list_in(root, request.path, request.include_pattern))
        )

    async def stat(self, request: StatContainerFile, served: Served) -> FileStats:
        """One entry; symlinks are followed."""
        found = await self._in_tree(request.container, request.mount, lambda root: stat_in(root, request.path, follow=True))
        return FileStats(entries=(found,))

    async def _in_tree(self, id: str, mount: int, read: Callable[[str], T]) -> T:
        container = await self._get(id)
        count = len(container.op.mounts)
        if not 0 <= mount < count:
            raise BuildFailed(f"mount index {mount} is out of bounds ({count} available)")
        root = container.bundle.trees.get(mount)
        if root is None:
            raise BuildFailed(f"mountable {mount} not found")
        return await self._parts.threads.do(read, root)

    async def _get(self, id: str) -> Container:
        kept = self._kept.get(id)
        if kept is None or kept.unwanted.is_set():
            raise NotFound(f'container "{id[:100]}" previously released or not created')
        return await asyncio.shield(kept.ready)
