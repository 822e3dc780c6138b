"""The containers of one build: opened and released by whoever drives it, and at its end (frontend/gateway/gateway.go)."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from services.solver.ports import ContainerFiles, ContainerHosts
from services.solver.service.results import Handle
from shared.errors import AlreadyExists, BuildFailed, BuildmeshError, Exhausted, NotFound, RefLost
from shared.model import Platform, Ref
from shared.run import new_id
from shared.telemetry import Log
from shared.wire.messages import BridgeExec, BridgeNewContainer, FileData, FileStats, OpenContainer, RunProcess, Scope

MOST = 100
"""Containers of one build at a time."""
ATTEMPTS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    id: str  # on the executor
    executor: str
    caller: str = ""  # the run of a frontend that opened it


class Containers:
    """`find` gives the handle of a result id. Raises NotFound."""

    def __init__(
        self, hosts: ContainerHosts, find: Callable[[str], Awaitable[Handle]], scope: Scope, platform: Callable[[], Platform]
    ) -> None:
        self._hosts, self._find, self._scope, self._platform = hosts, find, scope, platform
        self._open: dict[str, _Open | None] = {}  # None: on its way
        self._acted: set[str] = set()

    async def open(self, request: BridgeNewContainer) -> None:
        """Raises AlreadyExists for an id that is in use."""
        if request.id in self._open:
            raise AlreadyExists(f"Container {request.id[:200]} already exists")
        if len(self._open) >= MOST:
            raise Exhausted(f"more than {MOST} containers in one build")
        self._open[request.id] = None
        try:
            self._open[request.id] = await self._place(request, await self._handles(request))
        except BaseException:
            del self._open[request.id]
            raise

    async def _handles(self, request: BridgeNewContainer) -> tuple[Handle, ...]:
        found = []
        for ref in request.refs:
            try:
                found.append(await self._find(ref))
            except NotFound:
                raise NotFound(f"failed to find ref {ref[:100]} for a mount: return reference {ref[:100]} not found") from None
        return tuple(found)

    async def _place(self, request: BridgeNewContainer, handles: tuple[Handle, ...]) -> _Open:
        """On an executor, with trees that are there; lost ones are made again."""
        for attempt in range(1, ATTEMPTS + 1):
            refs = [await handle.ref() for handle in handles]
            try:
                return await self._place_once(request, tuple(refs))
            except RefLost as error:
                if attempt == ATTEMPTS:
                    raise
                await _lost(error, handles, refs)
        raise AssertionError("the last attempt returns or raises")

    async def _place_once(self, request: BridgeNewContainer, refs: tuple[Ref | None, ...]) -> _Open:
        order = OpenContainer(id=new_id(), op=request.op, inputs=refs, platform=request.platform or self._platform(), scope=self._scope)
        return _Open(id=order.id, executor=await self._hosts.open(order, request.executor), caller=request.caller)

    def _get(self, id: str) -> _Open | None:
        return self._open.get(id)

    async def run(self, request: BridgeExec) -> None:
        """Until the process is over. Raises NotFound for an unknown container."""
        found = self._get(request.container)
        if found is None:
            raise NotFound(f'container "{request.container[:200]}" previously released or not created')
        self._acted.add(request.caller)
        order = RunProcess(
            container=found.id,
            process=request.process,
            op=request.op,
            landing=request.landing,
            scope=self._scope,
            fds=request.fds,
            tty=request.tty,
        )
        await self._hosts.run(order, found.executor)

    async def files(self, id: str, mount: int, ask: Callable[[str], ContainerFiles]) -> FileData | FileStats:
        """Of a mount; `ask` makes the question for the container's id on its executor."""
        found = self._get(id)
        if found is None:
            raise BuildFailed(f"container details for {id[:200]}@{mount} not found")
        return await self._hosts.files(ask(found.id), found.executor)

    async def release(self, id: str) -> None:
        """Raises BuildFailed for an unknown one."""
        found = self._get(id)
        if found is None:
            raise BuildFailed(f"container details for {id[:200]} not found")
        del self._open[id]
        await self._hosts.close(found.id, found.executor)

    def abandon(self, caller: str) -> bool:
        """The executor of this run of a frontend is gone, and with it what it had opened. True when processes had run there."""
        self._open = {id: found for id, found in self._open.items() if found is None or found.caller != caller}
        return caller in self._acted

    async def release_all(self, log: Log) -> None:
        """At the end of the build: executors let go by its lease, too, but later."""
        left, self._open = [found for found in self._open.values() if found is not None], {}
        async with asyncio.TaskGroup() as tasks:
            for found in left:
                tasks.create_task(_quietly(self._hosts.close(found.id, found.executor), log))


async def _quietly(closing: Awaitable[None], log: Log) -> None:
    try:
        await closing
    except BuildmeshError as error:  # of one of its processes, as a rule, which nobody wants to know any more
        log.debug("a container ended with an error", error=error.message)


async def _lost(error: RefLost, handles: tuple[Handle, ...], refs: list[Ref | None]) -> None:
    for handle, ref in zip(handles, refs, strict=True):
        if ref is not None and ref.id == error.ref_id:
            await handle.lost(error.ref_id)
