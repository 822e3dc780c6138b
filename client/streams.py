"""A call that the daemon makes, as the byte stream that file transfers run on."""

from __future__ import annotations

from collections.abc import Mapping

from shared.rpc import Call


class CallBytes:
    """`shared.session.ports.SessionStream`, seen from the client: what the daemon half-closes reads as an empty chunk."""

    def __init__(self, call: Call) -> None:
        self._call = call

    @property
    def headers(self) -> Mapping[str, str]:
        return dict(self._call.metadata)

    async def send(self, chunk: bytes) -> None:
        await self._call.send_chunk(chunk)

    async def close_send(self) -> None:
        """The handler's return is what ends our side."""

    async def receive(self) -> bytes:
        return await self._call.chunk()
