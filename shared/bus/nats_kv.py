"""A JetStream key-value bucket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from shared.bus.cancellation import heeding
from shared.bus.nats_streams import Streams, bucket_config
from shared.bus.ports import Entry
from shared.errors import Unavailable

T = TypeVar("T")
Change = tuple[str, Entry | None]

MAX_WAIT = 5.0
PATIENCE = 15.0  # seconds that a question waits for a server that is coming back
_DELETIONS = ("DEL", "PURGE")
LOOK = 1.0  # seconds after which a quiet watch looks whether the connection was lost


class NatsKeyValue:
    """See shared.bus.ports.KeyValue. The server drops expired entries silently, so a watch counts the time itself."""

    def __init__(self, jetstream: Any, streams: Streams, name: str, ttl: float) -> None:
        self._js, self._streams, self._name, self._ttl = jetstream, streams, name, ttl
        self._kv: Any = None
        self._era = 0
        self._mine: dict[str, tuple[bytes, float]] = {}  # written here, with their ends; only where there is a TTL

    async def open(self) -> None:
        """Find the bucket, or have it made."""
        from nats.js.errors import NotFoundError

        try:
            self._kv = await self._js.key_value(self._name)
        except NotFoundError:
            await self._streams.ensure(bucket_config(self._name, self._ttl))
            self._kv = await self._js.key_value(self._name)

    async def _do(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Once more after making a bucket that is gone; errors of the library become ours."""
        from nats.errors import Error, NoRespondersError
        from nats.js.errors import NoStreamResponseError, NotFoundError

        try:
            try:
                return await heeding(operation())
            except (NoStreamResponseError, NotFoundError, NoRespondersError):
                await heeding(self.open())
                return await heeding(operation())
        except (Error, OSError, TimeoutError) as error:
            raise Unavailable(f"bucket {self._name}: {type(error).__name__}: {error}") from error

    async def _ask(self, question: Callable[[], Awaitable[T]]) -> T:
        """What changes nothing is asked again while the server is away: a look-up must not end a build that else would only pause."""
        clock = asyncio.get_running_loop().time
        end = clock() + PATIENCE
        while True:
            try:
                return await self._do(question)
            except Unavailable:
                if clock() >= end:
                    raise
            await asyncio.sleep(0.25)

    async def get(self, key: str) -> Entry | None:
        from nats.js.errors import KeyNotFoundError

        async def read() -> Entry | None:
            try:
                return _entry(await self._kv.get(key))
            except KeyNotFoundError:
                return None

        return await self._ask(read)

    async def put(self, key: str, value: bytes) -> int:
        revision = int(await self._do(lambda: self._kv.put(key, value)))
        self._remember(key, value)
        return revision

    def _remember(self, key: str, value: bytes) -> None:
        if self._ttl:
            self._mine[key] = (value, asyncio.get_running_loop().time() + self._ttl)

    async def create(self, key: str, value: bytes) -> int | None:
        return self._written(key, value, await self._compared(lambda: self._kv.create(key, value)))

    async def update(self, key: str, value: bytes, *, revision: int) -> int | None:
        return self._written(key, value, await self._compared(lambda: self._kv.update(key, value, last=revision)))

    def _written(self, key: str, value: bytes, revision: int | None) -> int | None:
        if revision is not None:
            self._remember(key, value)
        return revision

    async def _compared(self, write: Callable[[], Awaitable[Any]]) -> int | None:
        from nats.js.errors import KeyWrongLastSequenceError

        async def attempt() -> int | None:
            try:
                return int(await write())
            except KeyWrongLastSequenceError:
                return None

        return await self._do(attempt)

    async def delete(self, key: str, *, revision: int | None = None) -> None:
        self._mine.pop(key, None)
        if revision is None:
            await self._do(lambda: self._kv.purge(key))
        else:
            await self._compared(lambda: self._kv.delete(key, last=revision))

    def disown(self, key: str) -> None:
        self._mine.pop(key, None)

    async def entries(self, prefix: str = "") -> list[Entry]:
        from nats.js.errors import KeyNotFoundError

        async def read() -> list[Entry]:
            found = await self._read_through()
            for key in await self._keys() - found.keys():
                with suppress(KeyNotFoundError):
                    found[key] = _entry(await self._kv.get(key))
            return sorted((e for e in found.values() if e is not None and e.key.startswith(prefix)), key=lambda e: e.key)

        return await self._ask(read)

    async def _read_through(self) -> dict[str, Entry | None]:
        """What stands in the bucket, None = deleted.

        A key that is written meanwhile may miss: its old place is empty when it is come to, its new one lies behind the end.
        """
        watcher = await self._kv.watchall()
        found: dict[str, Entry | None] = {}
        try:
            while (update := await watcher.updates(timeout=MAX_WAIT)) is not None:
                found[update.key] = None if update.operation in _DELETIONS else _entry(update)
        finally:
            await watcher.stop()
        return found

    async def _keys(self) -> set[str]:
        """Those with an entry or the mark of a deletion."""
        before = f"$KV.{self._name}."
        about = await self._js.stream_info(f"KV_{self._name}", subjects_filter=before + ">")
        return {subject.removeprefix(before) for subject in about.state.subjects or ()}

    async def restart(self) -> None:
        """The connection was lost: watches look at everything again, and what this process announced stands again at once."""
        await self.open()
        self._era += 1
        now = asyncio.get_running_loop().time()
        self._mine = {key: (value, until) for key, (value, until) in self._mine.items() if until > now}
        for key in list(self._mine):
            await self._announce_again(key)

    async def _announce_again(self, key: str) -> None:
        """Unless it was deleted meanwhile. The library writes over a deletion that comes while it writes, so that is looked at again."""
        if (mine := self._mine.get(key)) is None:
            return
        revision = await self._compared(lambda: self._kv.create(key, mine[0]))
        if revision is not None and key not in self._mine:
            await self._compared(lambda: self._kv.delete(key, last=revision))

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Change]]:
        changes = _Changes(self, prefix, self._ttl)
        await changes.open()
        try:
            yield changes.read()
        finally:
            await changes.close()

    async def open_watcher(self) -> tuple[Any, int]:
        """A watcher of the whole bucket, and the era it belongs to. Waits for a server that is away: whoever watches does so for ever."""
        while True:
            era = self._era
            try:
                return await self._do(lambda: self._kv.watchall()), era
            except Unavailable:
                await asyncio.sleep(0.25)

    def is_over(self, era: int) -> bool:
        """Whether the connection was lost since."""
        return era != self._era


class _Changes:
    """One watch. Keys that are gone after a lost connection, or whose time is up, are told as deleted."""

    def __init__(self, bucket: NatsKeyValue, prefix: str, ttl: float) -> None:
        self._bucket, self._prefix, self._ttl = bucket, prefix, ttl
        self._watcher: Any = None
        self._era = 0
        self._known: set[str] = set()
        self._due: dict[str, float] = {}

    async def open(self) -> None:
        self._watcher, self._era = await self._bucket.open_watcher()
        self._unseen = set(self._known)

    async def close(self) -> None:
        from nats.errors import Error

        try:
            await self._watcher.stop()
        except Error:
            return  # it went with the connection

    async def read(self) -> AsyncIterator[Change]:
        """For ever."""
        from nats.errors import TimeoutError as NatsTimeout

        loop = asyncio.get_running_loop()
        while True:
            for key in [key for key, at in self._due.items() if at <= loop.time()]:
                yield self._forget(key)
            if self._bucket.is_over(self._era):
                await self.close()
                await self.open()
            wait = min(self._due.values(), default=loop.time() + LOOK) - loop.time()
            try:
                update = await heeding(self._watcher.updates(timeout=min(max(wait, 0.001), LOOK)))
            except (NatsTimeout, TimeoutError):
                continue
            if update is None:  # that was all there is
                for key in sorted(self._unseen):
                    yield self._forget(key)
                self._unseen.clear()
            elif update.key.startswith(self._prefix):
                change = self._changed(update, loop.time())
                if change is not None:
                    yield change

    def _changed(self, update: Any, now: float) -> Change | None:
        if update.operation in _DELETIONS:
            return self._forget(update.key) if update.key in self._known else None
        self._known.add(update.key)
        self._unseen.discard(update.key)
        if self._ttl:
            self._due[update.key] = now + self._ttl
        return update.key, _entry(update)

    def _forget(self, key: str) -> Change:
        self._known.discard(key)
        self._due.pop(key, None)
        return key, None


def _entry(found: Any) -> Entry:
    return Entry(key=found.key, value=found.value or b"", revision=int(found.revision))
