"""Outputs that a client takes once: it opens the file of a tar when the build begins and closes it after the first stream.

Who exports may die when all is sent and nothing is told, and then another one exports again. Whoever holds the session knows what
has arrived: it lets one stream at a time begin by each name, and none any more when one has come to its good end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from shared.errors import AlreadyExists, BuildmeshError
from shared.session.ports import SessionStream

__all__ = ["Deliveries", "Delivery", "is_delivered", "once", "output_name", "unnamed"]

_NAME: Final = "buildmesh-once"
_TOLD: Final = "the client has this output already"

Pairs = Sequence[tuple[str, str]]


def once(name: str) -> Pairs:
    """Metadata of a stream that is to arrive once in its session under this name; "" = as often as it is opened."""
    return [(_NAME, name)] if name else []


def output_name(build: str, exporter_id: int) -> str:
    """Of an output of a build; "" without a build."""
    return f"{build}/{exporter_id}" if build else ""


def unnamed(metadata: Pairs) -> tuple[str, Pairs]:
    """The name, and what the client is to see."""
    names = [value for key, value in metadata if key == _NAME]
    return (names[0] if names else ""), [pair for pair in metadata if pair[0] != _NAME]


def is_delivered(error: BuildmeshError) -> bool:
    """Whether the client refused nothing: an earlier stream of that name has arrived."""
    return error.message == _TOLD


class Deliveries:
    """Of one session."""

    def __init__(self) -> None:
        self._under_way: dict[str, asyncio.Event] = {}
        self._arrived: set[str] = set()

    @asynccontextmanager
    async def opening(self, name: str) -> AsyncIterator[Callable[[], None]]:
        """Call what it gives when the client has taken everything. Waits for an earlier stream; raises AlreadyExists if that arrived."""
        while (earlier := self._under_way.get(name)) is not None:
            await earlier.wait()
        if name in self._arrived:
            raise AlreadyExists(_TOLD)
        ended = self._under_way[name] = asyncio.Event()
        try:
            yield lambda: self._arrived.add(name)
        finally:
            del self._under_way[name]
            ended.set()


class Delivery:
    """A SessionStream that tells when the peer has ended it with status OK."""

    def __init__(self, stream: SessionStream, arrived: Callable[[], None]) -> None:
        self._stream, self._arrived = stream, arrived

    @property
    def headers(self) -> Mapping[str, str]:
        return self._stream.headers

    async def send(self, chunk: bytes) -> None:
        await self._stream.send(chunk)

    async def close_send(self) -> None:
        await self._stream.close_send()

    async def receive(self) -> bytes:
        chunk = await self._stream.receive()
        if not chunk:
            self._arrived()
        return chunk
