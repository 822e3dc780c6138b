"""A JetStream key-value bucket."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from shared.bus.ports import Entry
from shared.errors import Unavailable

T = TypeVar("T")
Change = tuple[str, Entry | None]

MAX_WAIT = 5.0


class NatsKeyValue:
    """See shared.bus.ports.KeyValue. The server drops expired entries silently, so a watch counts the time itself."""

    def __init__(self, jetstream: Any, name: str, ttl: float) -> None:
        self._js, self._name, self._ttl = jetstream, name, ttl
        self._kv: Any = None

    async def open(self) -> None:
        """Find the bucket or make it."""
        from nats.js import api
        from nats.js.errors import BadRequestError, NotFoundError

        try:
            self._kv = await self._js.key_value(self._name)
        except NotFoundError:
            storage = api.StorageType.MEMORY if self._ttl else api.StorageType.FILE
            config = api.KeyValueConfig(bucket=self._name, history=1, ttl=self._ttl or None, storage=storage)
            try:
                self._kv = await self._js.create_key_value(config)
            except BadRequestError:  # made by another process just now
                self._kv = await self._js.key_value(self._name)

    async def _do(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Once more after making a bucket that is gone; errors of the library become ours."""
        from nats.errors import Error, NoRespondersError
        from nats.js.errors import BucketNotFoundError, NoStreamResponseError

        try:
            try:
                return await operation()
            except (NoStreamResponseError, BucketNotFoundError, NoRespondersError):
                await self.open()
                return await operation()
        except (Error, OSError, TimeoutError) as error:
            raise Unavailable(f"bucket {self._name}: {type(error).__name__}: {error}") from error

    async def get(self, key: str) -> Entry | None:
        from nats.js.errors import KeyNotFoundError, NotFoundError

        async def read() -> Entry | None:
            try:
                return _entry(await self._kv.get(key))
            except KeyNotFoundError:
                return None
            except NotFoundError:
                return None

        return await self._do(read)

    async def put(self, key: str, value: bytes) -> int:
        return int(await self._do(lambda: self._kv.put(key, value)))

    async def create(self, key: str, value: bytes) -> int | None:
        return await self._compared(lambda: self._kv.create(key, value))

    async def update(self, key: str, value: bytes, *, revision: int) -> int | None:
        return await self._compared(lambda: self._kv.update(key, value, last=revision))

    async def _compared(self, write: Callable[[], Awaitable[Any]]) -> int | None:
        from nats.js.errors import KeyWrongLastSequenceError

        async def attempt() -> int | None:
            try:
                return int(await write())
            except KeyWrongLastSequenceError:
                return None

        return await self._do(attempt)

    async def delete(self, key: str) -> None:
        await self._do(lambda: self._kv.purge(key))

    async def entries(self, prefix: str = "") -> list[Entry]:
        async def read() -> list[Entry]:
            watcher = await self._kv.watchall(ignore_deletes=True)
            found = []
            try:
                while (update := await watcher.updates(timeout=MAX_WAIT)) is not None:
                    if update.key.startswith(prefix):
                        found.append(_entry(update))
            finally:
                await watcher.stop()
            return sorted(found, key=lambda e: e.key)

        return await self._do(read)

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Change]]:
        watcher = await self._do(lambda: self._kv.watchall())
        try:
            yield self._changes(watcher, prefix)
        finally:
            await watcher.stop()

    async def _changes(self, watcher: Any, prefix: str) -> AsyncIterator[Change]:
        from nats.errors import TimeoutError as NatsTimeout

        loop = asyncio.get_running_loop()
        due: dict[str, float] = {}
        while True:
            for key in [key for key, at in due.items() if at <= loop.time()]:
                del due[key]
                yield key, None
            wait = min(due.values(), default=loop.time() + MAX_WAIT) - loop.time()
            try:
                update = await watcher.updates(timeout=max(wait, 0.001))
            except (NatsTimeout, TimeoutError):
                continue
            if update is None or not update.key.startswith(prefix):
                continue
            if update.operation in ("DEL", "PURGE"):
                if due.pop(update.key, None) is not None or not self._ttl:
                    yield update.key, None
                continue
            due.pop(update.key, None)
            if self._ttl:
                due[update.key] = loop.time() + self._ttl
            yield update.key, _entry(update)


def _entry(found: Any) -> Entry:
    return Entry(key=found.key, value=found.value or b"", revision=int(found.revision))
