"""A client session inside of one process: the client's gRPC server at the far end of a Control.Session pipe."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from client.session import attach
from shared.rpc import Call, Handler, Server, connect, listen
from shared.session.connection import SessionConnection
from shared.session.registry import SessionRegistry

SESSION = "/moby.buildkit.v1.Control/Session"


def gateway_routes(registry: SessionRegistry) -> dict[str, Handler]:
    """The daemon's side: sessions are held in `registry`."""

    async def session(call: Call) -> None:
        connection = SessionConnection(
            session_id=call.metadata.get("x-docker-expose-session-uuid"),
            methods=call.metadata.all("x-docker-expose-session-grpc-method"),
        )
        with registry.holding(connection):
            await connection.hold(call)

    return {SESSION: session}


@asynccontextmanager
async def attached(registry: SessionRegistry, session_id: str, routes: Mapping[str, Handler], folder: Path) -> AsyncIterator[None]:
    """A client with `routes` is attached to a gateway made for it, over a real unix socket in `folder`."""
    async with AsyncExitStack() as stack:
        address = f"unix://{folder}/gateway.sock"
        await stack.enter_async_context(Server(gateway_routes(registry)).serving([listen(address)]))
        await stack.enter_async_context(client_session(address, session_id, routes))
        await registry.wait_for(session_id)
        yield


@asynccontextmanager
async def client_session(address: str, session_id: str, routes: Mapping[str, Handler]) -> AsyncIterator[None]:
    """Attach to the gateway at `address`."""
    async with connect(address) as peer, attach(peer, session_id, routes):
        yield
