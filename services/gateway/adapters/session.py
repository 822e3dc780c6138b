"""Control.Session: holds the inner connection of a client and lets the mesh know where it is."""

import asyncio
from contextlib import suppress

from services.gateway.core.sessions import Attached, attached
from shared.bus.ports import Buckets, KeyValue
from shared.errors import BuildmeshError
from shared.rpc import Call
from shared.session.connection import HealthRule, SessionConnection
from shared.session.registry import SessionRegistry
from shared.telemetry import Log
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.execute import SessionInfo

SESSION_TTL = subjects.TTL[subjects.KV_SESSIONS]
ANNOUNCE_TRIES, ANNOUNCE_AGAIN = 5, 1.0  # seconds between two tries, each of which waits for some seconds itself
RENEW_EVERY = 10.0


class Sessions:
    """The sessions held here. `relay` is the address under which others reach them; without one nobody is told."""

    def __init__(self, *, gateway: str, relay: str, registry: SessionRegistry, buckets: Buckets, codec: Codec, log: Log) -> None:
        self._gateway, self._relay, self._registry = gateway, relay, registry
        self._buckets, self._codec, self._log = buckets, codec, log
        self._announced: dict[str, bytes] = {}
        self._bucket: KeyValue | None = None

    async def session(self, call: Call) -> None:
        """Handler of the call; returns when the client closes its end or is dead."""
        client = attached(call.metadata)
        call.send_initial_metadata()
        connection = SessionConnection(
            session_id=client.id,
            methods=client.methods,
            name=client.name,
            shared_key=client.shared_key,
            health=HealthRule.custom(client.health_timeout),
        )
        with self._registry.holding(connection):
            await self._announce(client)
            try:
                await connection.hold(call)
            finally:
                await self._withdraw(client.id)

    async def renew(self) -> None:
        """Keep the announcements alive. Until cancelled."""
        while True:
            await asyncio.sleep(RENEW_EVERY)
            try:
                for session_id, value in list(self._announced.items()):
                    await (await self._sessions()).put(session_id, value)
            except BuildmeshError as error:  # entries live for three turns
                self._log.warning("sessions could not be announced", error=error)

    async def _announce(self, client: Attached) -> None:
        if not self._relay:
            return
        info = SessionInfo(
            id=client.id,
            gateway=self._gateway,
            relay=self._relay,
            methods=tuple(sorted(client.methods)),
            name=client.name,
            shared_key=client.shared_key,
        )
        self._announced[client.id] = self._codec.encode(info)
        for _ in range(ANNOUNCE_TRIES):  # a bus that is coming back: until then nobody could ask for it
            try:
                await (await self._sessions()).put(client.id, self._announced[client.id])
                return
            except BuildmeshError as error:
                self._log.warning("a session could not be announced", error=error)
            await asyncio.sleep(ANNOUNCE_AGAIN)

    async def _withdraw(self, session_id: str) -> None:
        if self._announced.pop(session_id, None) is not None and self._registry.find(session_id) is None:
            with suppress(BuildmeshError):  # it expires
                await (await self._sessions()).delete(session_id)

    async def _sessions(self) -> KeyValue:
        if self._bucket is None:
            self._bucket = await self._buckets.bucket(subjects.KV_SESSIONS, ttl=SESSION_TTL)
        return self._bucket
