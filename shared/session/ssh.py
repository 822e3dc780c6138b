"""The client's SSH agent: one forwarded stream for each connection to the socket in a container (session/sshforward/ssh.go)."""

from __future__ import annotations

import asyncio
from typing import Final

from shared.errors import BuildmeshError
from shared.pb import ssh_pb2
from shared.session import bytes_pipe
from shared.session.ports import SessionLinks, SessionStream
from shared.session.unary import unary

_SERVICE: Final = "/moby.sshforward.v1.SSH/"
_PIECE: Final = 32 * 1024


async def check_agent(links: SessionLinks, session_id: str, agent_id: str) -> None:
    """Raises the client's error when it has no agent `agent_id` ("" = `default`)."""
    request = ssh_pb2.CheckAgentRequest(ID=agent_id or "default").SerializeToString()
    await unary(links, session_id, _SERVICE + "CheckAgent", request)


async def forward_agent(
    links: SessionLinks,
    session_id: str,
    agent_id: str,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Carry bytes between a local connection and the client's agent until either side is done; the writer is closed."""
    pairs = [("buildkit.ssh.id", agent_id or "default")]
    try:
        async with (
            links.open(session_id, _SERVICE + "ForwardAgent", metadata=pairs) as stream,
            asyncio.TaskGroup() as group,
        ):
            upward = group.create_task(_to_agent(reader, stream))
            await _from_agent(stream, writer)
            upward.cancel()
    except* (BuildmeshError, ConnectionError):
        pass  # the process at the socket sees its connection end, as with any agent that goes away
    finally:
        writer.close()


async def _to_agent(reader: asyncio.StreamReader, stream: SessionStream) -> None:
    while data := await reader.read(_PIECE):
        await stream.send(bytes_pipe.wrap(data))
    await stream.close_send()


async def _from_agent(stream: SessionStream, writer: asyncio.StreamWriter) -> None:
    unwrap = bytes_pipe.Unwrapper()
    while chunk := await stream.receive():
        writer.write(unwrap.feed(chunk))
        await writer.drain()
