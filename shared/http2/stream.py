"""One stream's state: halves open or closed, windows in both directions, and what waits to be sent."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class StreamState(enum.Enum):
    """RFC 9113 §5.1 without idle and reserved; a closed stream is simply no longer kept."""

    OPEN = "open"
    HALF_CLOSED_LOCAL = "half-closed (local)"
    HALF_CLOSED_REMOTE = "half-closed (remote)"


@dataclass(slots=True, kw_only=True)
class Stream:
    stream_id: int
    receive_window: int
    """What the peer may still send."""
    send_window: int
    """What we may still send; a changed SETTINGS_INITIAL_WINDOW_SIZE can make it negative."""
    state: StreamState = StreamState.OPEN
    had_headers: bool = False
    unread: int = 0
    """Received and not acknowledged by the application."""
    to_credit: int = 0
    """Acknowledged and not yet given back by WINDOW_UPDATE."""
    pending: bytearray = field(default_factory=bytearray)
    trailers: bytes | None = None
    """Header block to follow the pending data."""
    end_after_pending: bool = False
    watched: bool = False
    """A writer waits for `pending` to shrink."""

    @property
    def remote_open(self) -> bool:
        return self.state is not StreamState.HALF_CLOSED_REMOTE

    @property
    def local_open(self) -> bool:
        return self.state is not StreamState.HALF_CLOSED_LOCAL
