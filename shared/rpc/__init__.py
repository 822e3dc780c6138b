"""gRPC over shared.http2 with asyncio: the front door's server, and a client that works over sockets and byte pipes.

    async def info(request: pb.InfoRequest, call: Call) -> pb.InfoResponse: ...
    server = Server({"/moby.buildkit.v1.Control/Info": unary(info, pb.InfoRequest)}, interceptors=[...])
    async with server.serving([listen("unix:///run/x.sock")]): ...; await server.drain(grace=10)

Handlers: `unary`, `server_stream` (async generator), `client_stream`, `bidi`; or a plain `async def handler(call: Call)` that uses
`call.recv() send() messages() chunk() send_chunk() metadata send_initial_metadata() add_trailing_metadata() time_left()`.
Raise errors of shared.errors: they become grpc-status with BuildKit's details. A handler is cancelled when its client resets.
`chunk`/`send_chunk` move many framed messages at once: the road for session pipes and file trees.

    async with connect("unix:///run/x.sock") as peer:
        data = await peer.unary("/moby.buildkit.v1.Control/Info", b"", within=5)
"""

from shared.rpc.call import Call, Handler, Interceptor, Peer
from shared.rpc.client import CallOpener, ClientCall, connect
from shared.rpc.framing import MAX_MESSAGE, MessageReader, frame, frame_all
from shared.rpc.handlers import bidi, client_stream, server_stream, unary
from shared.rpc.link import Link
from shared.rpc.listen import Listener, TlsFiles, listen
from shared.rpc.metadata import Metadata, Pairs
from shared.rpc.server import Server
from shared.rpc.status import Status, error_of, status_of

__all__ = [
    "MAX_MESSAGE",
    "Call",
    "CallOpener",
    "ClientCall",
    "Handler",
    "Interceptor",
    "Link",
    "Listener",
    "MessageReader",
    "Metadata",
    "Pairs",
    "Peer",
    "Server",
    "Status",
    "TlsFiles",
    "bidi",
    "client_stream",
    "connect",
    "error_of",
    "frame",
    "frame_all",
    "listen",
    "server_stream",
    "status_of",
    "unary",
]
