"""How services call methods that a client serves on its session.

A stream carries raw gRPC message framing (1 byte flag, 4 bytes length, message) in chunks of any size: many small messages
travel in one chunk, and nobody awaits per message.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol


class SessionStream(Protocol):
    """One open call. Errors of the peer (grpc-status ≠ 0) are raised by `receive` as shared.errors, once its data is used up."""

    @property
    def headers(self) -> Mapping[str, str]:
        """Response metadata; complete after the first `receive`."""
        ...

    async def send(self, chunk: bytes) -> None:
        """Framed messages; waits for flow control."""
        ...

    async def close_send(self) -> None:
        """Half-close; idempotent."""
        ...

    async def receive(self) -> bytes:
        """The next chunk, as large as is at hand; empty = the peer ended with status OK."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionDescription:
    """What a client told when it opened its session. `methods` are lower case, `/package.service/method`."""

    id: str
    name: str = ""
    shared_key: str = ""
    methods: frozenset[str] = frozenset()


class SessionLinks(Protocol):
    """Reaches the session wherever it is held."""

    def open(self, session_id: str, method: str, *, metadata: Sequence[tuple[str, str]] = ()) -> AbstractAsyncContextManager[SessionStream]:
        """Call `method` (`/moby.filesync.v1.FileSync/DiffCopy`). Leaving the context early cancels the call.

        A `prefix:` before the id is dropped. Raises SessionGone (unknown within `wait`, or ended), Unsupported (method not served).
        """
        ...

    async def describe(self, session_id: str, *, wait: float = 5.0) -> SessionDescription:
        """Who it is and what it serves. Waits up to `wait` seconds for the session. Raises SessionGone."""
        ...
