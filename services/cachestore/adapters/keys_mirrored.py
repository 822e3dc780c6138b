"""Two stores that hold the same: a file of this process, and a bucket that a successor on another machine finds.

The bus is a hint: its buckets may be lost. The file alone would be lost with the machine. A bucket that was never emptied is right: another
process may have led meanwhile, and removed what this file still has. An emptied one is filled from the file.
"""

import asyncio
from collections.abc import Sequence

from services.cachestore.adapters.keys_nats_kv import KvKeyStore
from services.cachestore.adapters.rows import row_key
from services.cachestore.core.key_graph import Row
from services.cachestore.ports import KeyStore


class MirroredKeyStore:
    """See services.cachestore.ports.KeyStore. `one` is the file, `two` the bucket."""

    def __init__(self, one: KeyStore, two: KvKeyStore) -> None:
        self._one, self._two = one, two

    async def load(self) -> list[Row]:
        one = {row_key(row): row for row in await self._one.load()}
        two = {row_key(row): row for row in await self._two.load()}
        only_one = [row for key, row in one.items() if key not in two]
        await self._one.write([row for key, row in two.items() if key not in one], [] if self._two.was_empty else only_one)
        if self._two.was_empty:
            await self._two.write(only_one, [])
            return list({**two, **one}.values())
        return list(two.values())

    async def write(self, added: Sequence[Row], removed: Sequence[Row]) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._one.write(added, removed))
            tasks.create_task(self._two.write(added, removed))

    async def intact(self) -> bool:
        return await self._one.intact() and await self._two.intact()

    async def close(self) -> None:
        await self._one.close()
        await self._two.close()
