"""LLBBridge for clients: the build that a call drives is the one that its metadata names."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from services.gateway.adapters.builds import Builds
from services.gateway.adapters.fleet import Fleet
from shared.bridge.service import WorkerFacts
from shared.errors import BuildFailed
from shared.rpc import Call
from shared.run.landings import Landings
from shared.session.landing import Landing

BUILD_ID = "buildkit-controlapi-buildid"


class ClientBuilds:
    """Implements the port Driven."""

    def __init__(self, *, builds: Builds, fleet: Fleet, landings: Landings) -> None:
        self._builds, self._fleet, self._landings = builds, fleet, landings

    async def workers(self, call: Call) -> Sequence[WorkerFacts]:
        await self._builds.registered(build_id(call))
        return await self._fleet.workers()

    async def ask(self, call: Call, message: Any) -> Any:
        return await self._builds.ask(build_id(call), message)

    def landing(self) -> AbstractAsyncContextManager[Landing]:
        return self._landings.open()


def build_id(call: Call) -> str:
    """The build that a call belongs to. Raises BuildFailed without exactly one."""
    ids = call.metadata.all(BUILD_ID)
    if len(ids) != 1:
        raise BuildFailed("no buildid found in context")
    return ids[0]
