"""grpc.health.v1.Health: SERVING for the whole server, NotFound for names we don't know."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from shared.errors import NotFound
from shared.pb import health_pb2 as pb
from shared.rpc import Call, Handler, server_stream, unary

SERVICE = "/grpc.health.v1.Health/"


class Health:
    """The servicer. `draining` is set once the server stops taking work."""

    def __init__(self, draining: asyncio.Event) -> None:
        self._draining = draining

    def routes(self) -> Mapping[str, Handler]:
        """Check, List and Watch."""
        return {
            SERVICE + "Check": unary(self.check, pb.HealthCheckRequest),
            SERVICE + "List": unary(self.list, pb.HealthListRequest),
            SERVICE + "Watch": server_stream(self.watch, pb.HealthCheckRequest),
        }

    async def check(self, request: pb.HealthCheckRequest, call: Call) -> pb.HealthCheckResponse:
        """Raises NotFound `unknown service` for any name but the empty one."""
        if request.service:
            raise NotFound("unknown service")
        return self._now()

    async def list(self, request: pb.HealthListRequest, call: Call) -> pb.HealthListResponse:
        """The one entry."""
        return pb.HealthListResponse(statuses={"": self._now()})

    async def watch(self, request: pb.HealthCheckRequest, call: Call) -> AsyncIterator[pb.HealthCheckResponse]:
        """Now, and once more when the server starts to drain."""
        if request.service:
            yield pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVICE_UNKNOWN)
            await asyncio.Event().wait()
        yield self._now()
        if not self._draining.is_set():
            await self._draining.wait()
            yield self._now()

    def _now(self) -> pb.HealthCheckResponse:
        serving = pb.HealthCheckResponse.NOT_SERVING if self._draining.is_set() else pb.HealthCheckResponse.SERVING
        return pb.HealthCheckResponse(status=serving)
