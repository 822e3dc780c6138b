"""Rows in a dict: for tests, and for a cachestore that shall forget."""

from collections.abc import Sequence

from services.cachestore.adapters.rows import decode_row, encode_row, row_key
from services.cachestore.core.key_graph import Row


class MemoryKeyStore:
    """See services.cachestore.ports.KeyStore."""

    def __init__(self) -> None:
        self._rows: dict[str, bytes] = {}

    async def load(self) -> list[Row]:
        return [row for row in map(decode_row, self._rows.values()) if row is not None]

    async def write(self, added: Sequence[Row], removed: Sequence[Row]) -> None:
        for row in removed:
            self._rows.pop(row_key(row), None)
        for row in added:
            self._rows[row_key(row)] = encode_row(row)

    async def intact(self) -> bool:
        return True

    async def close(self) -> None:
        return None

    def damage(self, data: bytes) -> None:
        """Overwrite every row (tests)."""
        self._rows = dict.fromkeys(self._rows, data)
