"""What the gateway asks of the world, in its own words."""

from collections.abc import AsyncIterator
from typing import Protocol

from services.gateway.core.history import BuildRecord


class Records(Protocol):
    """Where records of finished builds are kept. Small values; the blobs they name stand in the blob store."""

    async def get(self, ref: str) -> BuildRecord | None:
        """None when there is none, or it can't be read any more."""
        ...

    async def all(self) -> list[BuildRecord]:
        """In no particular order."""
        ...

    async def put(self, record: BuildRecord) -> None:
        """Replaces one of the same ref; durable where the store is."""
        ...

    async def delete(self, ref: str) -> None:
        """Idempotent."""
        ...


class Progress(Protocol):
    """The progress of one build as marshalled StatusResponses."""

    def messages(self) -> AsyncIterator[list[bytes]]:
        """Everything so far, then live, until the build has ended."""
        ...
