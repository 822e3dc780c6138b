"""SSH agent sockets for steps: each connection becomes a stream to the client's agent (session/sshforward/ssh.go)."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from shared.errors import BuildFailed, BuildmeshError, Code, SessionGone, Unsupported
from shared.llb import FileSecret
from shared.session.ports import SessionLinks
from shared.session.ssh import check_agent, forward_agent
from shared.session.unary import answers

__all__ = ["AgentSockets"]


class AgentSockets:
    """Sockets below one directory, whose path has to be short (108 bytes is all a socket address holds)."""

    def __init__(self, root: Path, links: SessionLinks) -> None:
        self._root = root
        self._links = links
        root.mkdir(mode=0o711, parents=True, exist_ok=True)
        for left in root.iterdir():
            left.unlink()

    async def find(self, ssh: FileSecret, sessions: Sequence[str]) -> str:
        """The session that has the agent; "" when it is optional and there is none. Errors: BuildFailed as BuildKit words it."""

        async def ask(session: str) -> str:
            try:
                await check_agent(self._links, session, ssh.id)
            except (Unsupported, SessionGone):
                return ""
            except BuildmeshError as error:
                if error.status_code is Code.UNIMPLEMENTED or ssh.optional:
                    return ""
                raise
            return session

        async for session in answers(sessions, ask):
            if session:
                return session
        if ssh.optional:
            return ""
        raise BuildFailed(f'no SSH key "{ssh.id}" forwarded from the client')

    @asynccontextmanager
    async def open(self, ssh: FileSecret, session: str) -> AsyncIterator[str]:
        """The path of a listening socket with the owner and mode that the mount asks for."""
        path = str(self._root / secrets.token_hex(6))

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(BuildmeshError):
                await forward_agent(self._links, session, ssh.id, reader, writer)

        server = await asyncio.start_unix_server(serve, path)
        try:
            os.chown(path, ssh.uid, ssh.gid)
            os.chmod(path, ssh.mode & 0o777)
            yield path
        finally:
            server.close()
            with suppress(FileNotFoundError):
                os.unlink(path)
