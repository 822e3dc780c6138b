"""Landings of this process, announced so that other processes find them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from shared.bus.ports import Bus, KeyValue
from shared.run.ids import new_id
from shared.run.sessions import TTL
from shared.session.landing import Landing
from shared.session.registry import SessionRegistry
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.messages import SessionInfo

_PREFIX: Final = "landing-"


class Landings:
    """`relay` is the address under which others reach this process; without one only this process itself can land."""

    def __init__(self, *, owner: str, relay: str, registry: SessionRegistry, bus: Bus) -> None:
        self._owner, self._relay, self._registry, self._bus = owner, relay, registry, bus
        self._codec = Codec()
        self._bucket: KeyValue | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Landing]:
        """A landing, found by its id while the context is open. The announcement lives as long as a session's: 30 s are for coming."""
        landing = Landing(_PREFIX + new_id())
        try:
            with self._registry.holding(landing):
                if not self._relay:
                    yield landing
                    return
                await self._announce(landing.session_id)
                try:
                    yield landing
                finally:
                    await (await self._sessions()).delete(landing.session_id)
        finally:
            landing.close()

    async def _announce(self, id: str) -> None:
        info = SessionInfo(id=id, gateway=self._owner, relay=self._relay)
        await (await self._sessions()).put(id, self._codec.encode(info))

    async def _sessions(self) -> KeyValue:
        if self._bucket is None:
            self._bucket = await self._bus.bucket(subjects.KV_SESSIONS, ttl=TTL)
        return self._bucket
