"""Frontends from images: run where their tree is, and once more elsewhere when their executor dies (docs/adr/0070)."""

from collections.abc import Callable

from services.solver.ports import ContainerHosts
from services.solver.service.containers import Containers
from services.solver.service.results import Handle
from shared.errors import BuildFailed, CallLost, Unavailable
from shared.model import Ref
from shared.wire.messages import BridgeResult, RunImage

ATTEMPTS = 3


class ImageRuns:
    """Of one build."""

    def __init__(self, hosts: ContainerHosts, containers: Containers) -> None:
        self._hosts, self._containers = hosts, containers

    async def run(self, handle: Handle, caller: str, order: Callable[[Ref], RunImage]) -> BridgeResult:
        """What the frontend returns, that runs in the tree of `handle`; `order` is made for the tree as it is then.

        What a frontend asks for is lazy or cached, so it may be run again: nobody has heard of its result. Not so once it has run
        processes of its own: who knows what they did. Raises Unavailable when its executor is gone and it is not run again.
        """

        async def on(ref: Ref | None) -> BridgeResult:
            if ref is None:
                raise BuildFailed("gateway source didn't return default result")
            return await self._hosts.run_image(order(ref))

        for attempt in range(1, ATTEMPTS + 1):
            try:
                return await handle.use(on)
            except CallLost as error:
                acted = self._containers.abandon(caller)
                if acted or attempt == ATTEMPTS:
                    why = "it had run processes, so it was not run again" if acted else f"{ATTEMPTS} times"
                    raise Unavailable(f"{error.message} ({why})") from None
        raise AssertionError("the last attempt returns or raises")
