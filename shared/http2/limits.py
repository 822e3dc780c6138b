"""What this side announces to its peer, and what it puts up with from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shared.http2 import frames

MIB: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Sizes in bytes. The defaults suit a daemon whose clients send file trees."""

    stream_window: int = MIB
    """How much a peer may send on a stream before the application has taken it."""
    connection_window: int = 16 * MIB
    """How much may be under way on all streams together."""
    max_unread: int = 64 * MIB
    """When the application leaves more than this unread over all streams, the connection window stays shut."""
    max_frame_size: int = 256 * 1024
    """Largest frame accepted; bigger frames mean fewer turns of the receive loop."""
    max_header_list: int = MIB
    """Header list size (RFC 9113 §6.5.2) per block; file sync sends its patterns as metadata, so this is roomy."""
    max_continuations: int = 128
    """CONTINUATION frames per header block (CVE-2024-27316 and its kin)."""
    max_streams: int = 4096
    """Streams open at once. High, since one client may run hundreds of builds, each holding streams while it waits for others."""
    max_abandoned: int = 2000
    """Streams a peer may reset, beyond those it lets finish, between two calls of `relax` (rapid reset, CVE-2023-44487)."""
    max_idle_frames: int = 10_000
    """PING, SETTINGS, PRIORITY and empty frames without any useful one in between (CVE-2019-9512, -9515, -9518)."""
    max_unsent: int = MIB
    """Answers (PING and SETTINGS acknowledgements, resets, window updates) that wait because the peer doesn't read."""

    def settings(self) -> list[tuple[int, int]]:
        return [
            (frames.SETTING_ENABLE_PUSH, 0),
            (frames.SETTING_MAX_CONCURRENT_STREAMS, self.max_streams),
            (frames.SETTING_INITIAL_WINDOW_SIZE, self.stream_window),
            (frames.SETTING_MAX_FRAME_SIZE, self.max_frame_size),
            (frames.SETTING_MAX_HEADER_LIST_SIZE, self.max_header_list),
        ]
