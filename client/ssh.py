"""SSH agents offered to the daemon: a socket per id, a connection to it per forwarded stream (BuildKit session/sshforward)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from shared.errors import InvalidInput, NotFound, Unavailable
from shared.pb import ssh_pb2
from shared.rpc import Call, Handler, unary
from shared.session import bytes_pipe

_SERVICE: Final = "/moby.sshforward.v1.SSH/"


def parse(text: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """`default`, `id` or `id=socket` → id and path of the agent's socket. Raises InvalidInput when there is none."""
    agent_id, _, path = text.partition("=")
    path = path or environ.get("SSH_AUTH_SOCK", "")
    if not path:
        raise InvalidInput(f"--ssh {text}: no socket given and SSH_AUTH_SOCK is not set")
    return agent_id or "default", path


class Agents:
    """`sockets`: id → path."""

    def __init__(self, sockets: Mapping[str, str]) -> None:
        self._sockets = dict(sockets)

    def routes(self) -> dict[str, Handler]:
        if not self._sockets:
            return {}
        check = unary(self._check, ssh_pb2.CheckAgentRequest)
        return {_SERVICE + "CheckAgent": check, _SERVICE + "ForwardAgent": self._forward}

    def _socket(self, agent_id: str) -> str:
        path = self._sockets.get(agent_id or "default")
        if path is None:
            raise NotFound(f"unset ssh forward key {agent_id}")
        return path

    async def _check(self, request: ssh_pb2.CheckAgentRequest, call: Call) -> ssh_pb2.CheckAgentResponse:
        self._socket(request.ID)
        return ssh_pb2.CheckAgentResponse()

    async def _forward(self, call: Call) -> None:
        path = self._socket(call.metadata.get("buildkit.ssh.id", "default"))
        try:
            reader, writer = await asyncio.open_unix_connection(path)
        except OSError as error:
            raise Unavailable(f"ssh agent at {path}: {error.strerror}") from None
        try:
            async with asyncio.TaskGroup() as group:
                upward = group.create_task(_to_agent(call, writer))
                while data := await reader.read(32 * 1024):
                    await call.send_chunk(bytes_pipe.wrap(data))
                upward.cancel()
        finally:
            writer.close()


async def _to_agent(call: Call, writer: asyncio.StreamWriter) -> None:
    unwrap = bytes_pipe.Unwrapper()
    while chunk := await call.chunk():
        writer.write(unwrap.feed(chunk))
        await writer.drain()
    writer.write_eof()
