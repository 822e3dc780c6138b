"""Containers on executors, over calls to the one that holds each of them."""

from collections.abc import Sequence
from typing import Any

from services.solver.adapters.executors import ABSENT, HOME_WITHIN, ExecutorFleet
from shared.bus.calls import Calls
from shared.errors import CallLost, Exhausted, Unavailable
from shared.model import Ref
from shared.wire import subjects
from shared.wire.messages import BridgeResult, CloseContainer, ContainerOpened, FileData, FileStats, OpenContainer, RunImage, RunProcess

PLACES = 3
"""Executors that are asked for a container, as long as they die before they have it."""


class ExecutorContainers:
    """Implements the port ContainerHosts. A container that is there dies with its executor."""

    def __init__(self, calls: Calls, fleet: ExecutorFleet) -> None:
        self._calls, self._fleet = calls, fleet

    async def open(self, request: OpenContainer, executor: str) -> str:
        opened = await (self._ask(executor, request) if executor else self._anywhere(request))
        assert isinstance(opened, ContainerOpened)
        return opened.executor

    async def _anywhere(self, request: OpenContainer) -> Any:
        """Nothing has run there yet, so another one will do as well."""
        for _ in range(PLACES - 1):
            try:
                return await self._somewhere(request.inputs, request)
            except CallLost:
                continue
        try:
            return await self._somewhere(request.inputs, request)
        except CallLost as error:
            raise Unavailable(error.message) from None

    async def run(self, request: RunProcess, executor: str) -> None:
        await self._ask(executor, request)

    async def close(self, id: str, executor: str) -> None:
        if self._fleet.is_alive(executor):
            await self._ask(executor, CloseContainer(id=id))

    async def files(self, request: Any, executor: str) -> FileData | FileStats:
        answer = await self._ask(executor, request)
        assert isinstance(answer, FileData | FileStats)
        return answer

    async def run_image(self, request: RunImage) -> BridgeResult:
        answer = await self._somewhere([request.root], request)
        assert isinstance(answer, BridgeResult)
        return answer

    async def _somewhere(self, refs: Sequence[Ref | None], request: Any) -> Any:
        """Where the trees are; when there is no room, where there is least to do. Raises CallLost naming an executor that died."""
        place = self._place(refs)
        try:
            return await self._at(place, request)
        except Exhausted:
            other = self._fleet.idlest(but=place)
            if other == place:
                raise
            return await self._at(other, request)

    def _place(self, refs: Sequence[Ref | None]) -> str:
        """Where the first of the trees is that has a home; else wherever there is least to do."""
        homes = (ref.home for ref in refs if ref is not None)
        return next((home for home in homes if home and self._fleet.is_alive(home)), None) or self._fleet.idlest()

    async def _ask(self, executor: str, request: Any) -> Any:
        """The one that has it: nobody else can answer."""
        try:
            return await self._at(executor, request)
        except CallLost as error:
            raise Unavailable(error.message) from None

    async def _at(self, executor: str, request: Any) -> Any:
        try:
            return await self._calls.call(subjects.executor_call(executor), request, within=HOME_WITHIN, absent=ABSENT)
        except CallLost as error:
            self._fleet.lost(executor)
            raise CallLost(f"the executor {executor} that runs the container is gone: {error.message}") from None
