"""The sending half: answers and headers at once, data as far as both windows go, fairly over the streams."""

from __future__ import annotations

from collections.abc import Callable

from shared.http2 import frames
from shared.http2.fault import ConnectionFault, StreamFault, protocol_fault
from shared.http2.frames import ErrorCode
from shared.http2.stream import Stream

LOW_WATER = 64 * 1024


class Outbox:
    """Holds frames that are ready and the order in which streams with data take their turn."""

    __slots__ = ("_drained", "_ready", "_urgent", "_urgent_size", "max_frame_size", "on_local_end", "window")

    def __init__(self, on_local_end: Callable[[Stream], None]) -> None:
        self.window = frames.DEFAULT_WINDOW
        self.max_frame_size = frames.DEFAULT_FRAME_SIZE
        self.on_local_end = on_local_end
        self._urgent: list[bytes] = []
        self._urgent_size = 0
        self._ready: dict[int, Stream] = {}
        self._drained: list[int] = []

    @property
    def urgent_size(self) -> int:
        return self._urgent_size

    def put(self, frame: bytes) -> None:
        """Queue a frame that flow control doesn't bind."""
        self._urgent.append(frame)
        self._urgent_size += len(frame)

    def put_headers(self, stream: Stream, block: bytes, *, end_stream: bool) -> None:
        if stream.pending:
            if not end_stream:
                raise AssertionError("only trailers can follow data")
            stream.trailers = block
            stream.end_after_pending = True
            return
        self.put(frames.header_frames(stream.stream_id, block, end_stream=end_stream, max_size=self.max_frame_size))
        if end_stream:
            self.on_local_end(stream)

    def put_data(self, stream: Stream, data: bytes, *, end_stream: bool) -> None:
        if not data and not stream.pending:
            if end_stream:  # an empty frame needs no window
                self.put(frames.frame_header(0, frames.DATA, frames.END_STREAM, stream.stream_id))
                self.on_local_end(stream)
            return
        stream.pending += data
        stream.end_after_pending = stream.end_after_pending or end_stream
        self._ready[stream.stream_id] = stream

    def forget(self, stream: Stream) -> None:
        self._ready.pop(stream.stream_id, None)
        stream.pending.clear()
        if stream.watched:
            self._drained.append(stream.stream_id)

    def credit(self, increment: int, stream: Stream | None) -> None:
        """A WINDOW_UPDATE came (RFC 9113 §6.9.1: beyond 2^31-1 is an error)."""
        if stream is None:
            self.window += increment
            if self.window > frames.MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "connection window overflow")
            return
        stream.send_window += increment
        if stream.send_window > frames.MAX_WINDOW:
            raise StreamFault(stream.stream_id, ErrorCode.FLOW_CONTROL_ERROR, "stream window overflow")
        if stream.pending:
            self._ready[stream.stream_id] = stream

    def adjust(self, difference: int, stream: Stream) -> None:
        """SETTINGS_INITIAL_WINDOW_SIZE changed (RFC 9113 §6.9.2)."""
        stream.send_window += difference
        if stream.send_window > frames.MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "stream window overflow by settings")
        if stream.pending:
            self._ready[stream.stream_id] = stream

    def set_frame_size(self, size: int) -> None:
        if not frames.DEFAULT_FRAME_SIZE <= size <= 2**24 - 1:
            raise protocol_fault(f"SETTINGS_MAX_FRAME_SIZE {size} is out of range")
        self.max_frame_size = size

    def take(self, budget: int) -> bytes:
        """Everything urgent, then up to `budget` bytes of data, a frame of each stream in turn."""
        out = self._urgent
        self._urgent, self._urgent_size = [], 0
        while self._ready and self.window > 0 and budget > 0:
            stream = self._ready.pop(next(iter(self._ready)))
            if stream.send_window > 0:  # else `credit` puts it back
                budget -= self._one_frame(stream, budget, out)
        if self._urgent:  # a reset may follow the end of a stream
            out += self._urgent
            self._urgent, self._urgent_size = [], 0
        return b"".join(out)

    def _one_frame(self, stream: Stream, budget: int, out: list[bytes]) -> int:
        """Write one DATA frame and put the stream back in line if more waits; returns the size."""
        pending = stream.pending
        size = min(len(pending), stream.send_window, self.window, self.max_frame_size, budget)
        last = size == len(pending) and stream.end_after_pending
        flags = frames.END_STREAM if last and stream.trailers is None else 0
        out += (frames.frame_header(size, frames.DATA, flags, stream.stream_id), bytes(pending[:size]))
        del pending[:size]
        stream.send_window -= size
        self.window -= size
        if stream.watched and len(pending) <= LOW_WATER:
            stream.watched = False
            self._drained.append(stream.stream_id)
        if last:
            self._finish(stream, out)
        elif pending:
            self._ready[stream.stream_id] = stream
        return size

    def _finish(self, stream: Stream, out: list[bytes]) -> None:
        stream.end_after_pending = False
        if stream.trailers is not None:
            out.append(frames.header_frames(stream.stream_id, stream.trailers, end_stream=True, max_size=self.max_frame_size))
            stream.trailers = None
        self.on_local_end(stream)

    def drained(self) -> list[int]:
        """Streams whose writers may go on, once each."""
        out, self._drained = self._drained, []
        return out
