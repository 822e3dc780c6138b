"""What another solver needs to go on with a build: whose it is, the handles its client has, and the client's last word (KV `bridges`)."""

import asyncio
from typing import Any

from shared.bus.frames import Claims, Wrapper
from shared.bus.ports import Buckets, KeyValue
from shared.errors import BuildmeshError, Unavailable
from shared.model import is_safe_id
from shared.telemetry import Log
from shared.wire import subjects
from shared.wire.codec import Codec

KEPT = subjects.TTL[subjects.KV_BRIDGES]  # for builds whose solver died and that nobody took over
INLINE = 64 * 1024  # bytes; what is larger goes into the blob store
OWNER = "owner"
FORGETS = 60
FORGET_AGAIN = 0.5  # seconds; a bus that is restarted must not keep what has ended


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
        self._names: dict[str, set[str]] = {}  # what this process has written, by build
        self._inherited: set[str] = set()  # builds of which another solver may have written more

    async def claim(self, build: str, order: int) -> bool:
        """From now on it is ours; whoever had it before may only stop. Raises Unavailable for a delivery older than the owner's."""
        key, value = f"{build}.{OWNER}", f"{order} {self._me}".encode()
        names = self._names.setdefault(build, set())
        names.add(OWNER)
        try:
            bucket = await self._open()
            while await bucket.create(key, value) is None:
                self._inherited.add(build)
                found = await bucket.get(key)
                if found is None:
                    continue
                if _order(found.value) > order:
                    raise Superseded("another solver has taken this build over")
                if await bucket.update(key, value, revision=found.revision) is not None:
                    return True
        except Superseded:
            self._drop(build)
            raise
        except BuildmeshError as error:
            self._inherited.add(build)
            self._log.warning("a build could not be claimed", build=build, error=str(error))
        return False

    async def is_mine(self, build: str) -> bool:
        """False once another solver has claimed it. While nobody can be asked: True."""
        entry = await self._get(build, OWNER)
        if entry is None or entry.endswith(f" {self._me}".encode()):
            return True
        await self._leave(build)
        return False

    async def _leave(self, build: str) -> None:
        """Its new owner will remove it, and then it must not come back from here."""
        bucket = await self._open()
        for name in self._drop(build):
            bucket.disown(f"{build}.{name}")

    def _drop(self, build: str) -> set[str]:
        self._inherited.discard(build)
        return self._names.pop(build, set())

    async def keep(self, build: str, name: str, message: Any) -> None:
        """Survives this process."""
        self._names.setdefault(build, set()).add(name)
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

    async def forget(self, build: str, *, begun_elsewhere: bool = False) -> None:
        """The build has ended. A bus that is away is waited for: nobody else would remove it before it expires."""
        everything = begun_elsewhere or build in self._inherited
        names = self._drop(build)
        for attempt in range(FORGETS):
            if attempt:
                await asyncio.sleep(FORGET_AGAIN)
            try:
                await self._remove(build, names, everything=everything)
                return
            except BuildmeshError as error:
                self._log.warning("what was kept of a build can't be removed", build=build, error=str(error))

    async def _remove(self, build: str, names: set[str], *, everything: bool) -> None:
        """The owner last: while it is there, somebody can see that there is something to remove."""
        bucket = await self._open()
        if everything:
            names = names | {entry.key.removeprefix(f"{build}.") for entry in await bucket.entries(f"{build}.")}
        for name in sorted(names, key=lambda name: name == OWNER):
            await bucket.delete(f"{build}.{name}")

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

    async def forget(self, build: str, *, begun_elsewhere: bool = False) -> None:
        """There is nothing."""
