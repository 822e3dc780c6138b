"""What another solver needs to go on with a build: whose it is, the handles its client has, and the client's last word (KV `bridges`)."""

from typing import Any

from shared.bus.frames import Claims, Wrapper
from shared.bus.ports import Buckets, KeyValue
from shared.errors import BuildmeshError, Unavailable
from shared.model import is_safe_id
from shared.telemetry import Log
from shared.wire import subjects
from shared.wire.codec import Codec

KEPT = 6 * 3600.0  # seconds, for builds whose solver died and that nobody took over
INLINE = 64 * 1024  # bytes; what is larger goes into the blob store
OWNER = "owner"


class Superseded(Unavailable):
    """A later delivery of the build is being worked on."""


def _order(owner: bytes) -> int:
    number = owner.partition(b" ")[0]
    return int(number) if number.isdigit() and len(number) < 12 else 0


class BusMemory:
    """BuildMemory in a bucket. `me` names this run of this process. What can't be written or read costs a take-over, not the build."""

    def __init__(self, buckets: Buckets, claims: Claims, me: str, log: Log) -> None:
        self._buckets, self._me, self._log = buckets, me, log
        self._wrapper = Wrapper(Codec(), claims, INLINE)
        self._bucket: KeyValue | None = None

    async def claim(self, build: str, order: int) -> bool:
        """From now on it is ours; whoever had it before may only stop. Raises Unavailable for a delivery older than the owner's."""
        key, value = f"{build}.{OWNER}", f"{order} {self._me}".encode()
        try:
            bucket = await self._open()
            while await bucket.create(key, value) is None:
                found = await bucket.get(key)
                if found is None:
                    continue
                if _order(found.value) > order:
                    raise Superseded("another solver has taken this build over")
                if await bucket.update(key, value, revision=found.revision) is not None:
                    return True
        except Superseded:
            raise
        except BuildmeshError as error:
            self._log.warning("a build could not be claimed", build=build, error=str(error))
        return False

    async def is_mine(self, build: str) -> bool:
        """False once another solver has claimed it. While nobody can be asked: True."""
        entry = await self._get(build, OWNER)
        return entry is None or entry.endswith(f" {self._me}".encode())

    async def keep(self, build: str, name: str, message: Any) -> None:
        """Survives this process."""
        try:
            await self._put(build, name, await self._wrapper.wrap(message, key=build))
        except BuildmeshError as error:
            self._log.warning("a part of a build could not be kept", build=build, error=str(error))

    async def recall(self, build: str, name: str) -> Any:
        """What was kept, or None. Names come from clients."""
        if not is_safe_id(name) or (data := await self._get(build, name)) is None:
            return None
        try:
            envelope = await self._wrapper.redeem(self._wrapper.open(data))
        except BuildmeshError as error:
            self._log.warning("a kept part of a build can't be read", build=build, error=str(error))
            return None
        return envelope.body if envelope.key == build else None

    async def forget(self, build: str, names: tuple[str, ...]) -> None:
        """The build has ended."""
        try:
            for name in (*names, OWNER):
                await (await self._open()).delete(f"{build}.{name}")
        except BuildmeshError as error:  # it expires
            self._log.warning("what was kept of a build stays for a while", build=build, error=str(error))

    async def _put(self, build: str, name: str, data: bytes) -> None:
        try:
            await (await self._open()).put(f"{build}.{name}", data)
        except BuildmeshError as error:
            self._log.warning("a part of a build could not be kept", build=build, error=str(error))

    async def _get(self, build: str, name: str) -> bytes | None:
        try:
            entry = await (await self._open()).get(f"{build}.{name}")
        except BuildmeshError as error:
            self._log.warning("what was kept of a build can't be asked for", build=build, error=str(error))
            return None
        return None if entry is None else entry.value

    async def _open(self) -> KeyValue:
        if self._bucket is None:
            self._bucket = await self._buckets.bucket(subjects.KV_BRIDGES, ttl=KEPT)
        return self._bucket


class NoMemory:
    """BuildMemory where nobody else could go on: all services are one process."""

    async def claim(self, build: str, order: int) -> bool:
        """Nobody else could have had it."""
        return False

    async def is_mine(self, build: str) -> bool:
        """Always."""
        return True

    async def keep(self, build: str, name: str, message: Any) -> None:
        """For whom?"""

    async def recall(self, build: str, name: str) -> Any:
        """None."""
        return None

    async def forget(self, build: str, names: tuple[str, ...]) -> None:
        """There is nothing."""
