"""Where a client's session is held: in this process, or with a gateway that KV `sessions` names."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from shared.bus.ports import Bus, Entry, KeyValue
from shared.errors import InvalidInput, SessionGone
from shared.model import is_safe_id
from shared.rpc import connect
from shared.run.certificates import Certificates, role_name
from shared.session.ports import SessionLinks
from shared.session.registry import SessionRegistry
from shared.session.relay import RelayLinks
from shared.wire import subjects
from shared.wire.codec import Codec
from shared.wire.messages import SessionInfo

TTL = subjects.TTL[subjects.KV_SESSIONS]


class SessionDirectory:
    """Finds the relay address of a session's gateway."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._codec = Codec()
        self._bucket: KeyValue | None = None

    async def locate(self, session: str, wait: float) -> str:
        """The address, waiting up to `wait` seconds for the session to be announced. Raises SessionGone."""
        if not is_safe_id(session):
            raise SessionGone(f"no active session for {session[:80]!r}")
        bucket = self._bucket = self._bucket or await self._bus.bucket(subjects.KV_SESSIONS, ttl=TTL)
        entry = await bucket.get(session)
        if entry is not None:
            return self._relay(entry)
        try:
            async with asyncio.timeout(wait), bucket.watch(session) as changes:
                async for key, found in changes:
                    if key == session and found is not None:
                        return self._relay(found)
        except TimeoutError:
            pass  # told below
        raise SessionGone(f"no active session for {session}: context deadline exceeded")

    def _relay(self, entry: Entry) -> str:
        try:
            info = self._codec.decode(entry.value).body
        except InvalidInput as error:
            raise SessionGone(f"session {entry.key}: {error.message}") from None
        if not isinstance(info, SessionInfo) or not info.relay:
            raise SessionGone(f"session {entry.key} can't be reached from outside of its gateway")
        return info.relay


@asynccontextmanager
async def session_links(bus: Bus, *, alone: bool, certificates: Certificates | None = None) -> AsyncIterator[SessionLinks]:
    """What a process reaches sessions by: its own ones directly, those of others through their gateways."""
    registry = SessionRegistry()
    if alone:
        yield registry
        return
    dial = connect if certificates is None else partial(connect, tls=certificates.client_of_grpc(), server_name=role_name("gateway"))
    links = RelayLinks(SessionDirectory(bus).locate, local=registry, dial=dial)
    async with links.running():
        yield links


def held_here(links: SessionLinks) -> SessionRegistry:
    """The registry of this process. Raises InvalidInput when it has none."""
    found = links.local if isinstance(links, RelayLinks) else links
    if not isinstance(found, SessionRegistry):
        raise InvalidInput("this process can't hold sessions")
    return found
