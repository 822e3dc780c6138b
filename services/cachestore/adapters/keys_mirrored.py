"""Two stores that hold the same: a file of this process, and a bucket that a successor on another machine finds.

The bus is a hint: its buckets may be lost. The file alone would be lost with the machine. What one lacks the other gives back.
"""

import asyncio
from collections.abc import Sequence

from services.cachestore.adapters.rows import row_key
from services.cachestore.core.key_graph import Row
from services.cachestore.ports import KeyStore


class MirroredKeyStore:
    """See services.cachestore.ports.KeyStore. A row that only one side removed comes back: then it is found to be lost when it is used."""

    def __init__(self, one: KeyStore, two: KeyStore) -> None:
        self._one, self._two = one, two

    async def load(self) -> list[Row]:
        one = {row_key(row): row for row in await self._one.load()}
        two = {row_key(row): row for row in await self._two.load()}
        await self._one.write([row for key, row in two.items() if key not in one], [])
        await self._two.write([row for key, row in one.items() if key not in two], [])
        return list({**two, **one}.values())

    async def write(self, added: Sequence[Row], removed: Sequence[Row]) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._one.write(added, removed))
            tasks.create_task(self._two.write(added, removed))

    async def intact(self) -> bool:
        return await self._one.intact() and await self._two.intact()

    async def close(self) -> None:
        await self._one.close()
        await self._two.close()
