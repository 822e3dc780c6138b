"""Whose SSH agent a step gets that several builds have in common."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from services.executor.adapters.agent_sockets import AgentSockets
from shared.errors import BuildFailed, Denied, SessionGone
from shared.llb import FileSecret
from shared.rpc.framing import frame
from shared.session import unary
from shared.session.ports import SessionLinks


class Stream:
    def __init__(self, session: str) -> None:
        self._session, self._left = session, [frame(b"")]

    async def send(self, chunk: bytes) -> None: ...

    async def close_send(self) -> None: ...

    async def receive(self) -> bytes:
        match self._session:
            case "refuses":
                raise Denied("no")
            case "gone":
                raise SessionGone("gone")
            case "silent":
                await asyncio.Event().wait()
        return self._left.pop() if self._left else b""


class Links:
    @asynccontextmanager
    async def open(self, session: str, method: str, *, metadata: Sequence[tuple[str, str]] = ()) -> AsyncIterator[Stream]:
        yield Stream(session)


async def test_the_next_client_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unary.answers, "__defaults__", (0.05,))
    agents, ssh = AgentSockets(tmp_path, cast(SessionLinks, Links())), FileSecret(id="default")
    async with asyncio.timeout(5):
        for first in ("refuses", "gone", "silent"):
            assert await agents.find(ssh, (first, "good")) == "good"
        with pytest.raises(Denied):
            await agents.find(ssh, ("refuses",))
        with pytest.raises(BuildFailed, match="no SSH key"):
            await agents.find(ssh, ("gone",))
        assert await agents.find(FileSecret(id="default", optional=True), ("gone", "refuses")) == ""
