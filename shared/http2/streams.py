"""The streams of a connection: which are open, which may be opened, and what ends them (RFC 9113 §5.1)."""

from __future__ import annotations

import enum

from shared.http2 import frames
from shared.http2.fault import ConnectionFault, StreamFault, protocol_fault
from shared.http2.frames import ErrorCode
from shared.http2.guard import FloodGuard
from shared.http2.inbound import InboundWindow
from shared.http2.limits import Limits
from shared.http2.outbox import Outbox
from shared.http2.stream import Stream, StreamState


class Role(enum.Enum):
    CLIENT = "client"
    SERVER = "server"


class Streams:
    """Open ones in `by_id`; closed ones are known by their numbers alone. Ids are those of RFC 9113: odd ones are the client's."""

    __slots__ = (
        "_guard",
        "_inbound",
        "_initial_window",
        "_limits",
        "_outbox",
        "_role",
        "by_id",
        "last_peer_id",
        "most",
        "next_id",
        "refuse_above",
    )

    def __init__(self, role: Role, limits: Limits, guard: FloodGuard) -> None:
        self.by_id: dict[int, Stream] = {}
        self.most = 100
        """What the peer allows. Until its SETTINGS say otherwise: a start that RFC 9113 recommends as a minimum."""
        self.next_id = 1
        self.last_peer_id = 0
        self.refuse_above: int | None = None
        self._role, self._limits, self._guard = role, limits, guard
        self._initial_window = frames.DEFAULT_WINDOW

    def connect(self, outbox: Outbox, inbound: InboundWindow) -> None:
        """The two halves through which streams send and receive; they know the streams' ends in turn."""
        self._outbox, self._inbound = outbox, inbound

    @property
    def may_open(self) -> bool:
        """Whether the peer takes another one of ours now."""
        return len(self.by_id) < self.most and self.next_id < frames.MAX_WINDOW

    def open(self) -> Stream:
        """A new one of ours."""
        stream_id, self.next_id = self.next_id, self.next_id + 2
        return self._add(stream_id)

    def accept(self, stream_id: int) -> Stream | None:
        """One for the peer's new request; None if it is refused or the stream is long gone."""
        if self._role is Role.CLIENT:
            self.expect_closed(stream_id, "HEADERS")
            return None
        if stream_id <= self.last_peer_id:
            self._guard.idle_frame("late HEADERS")
            return None
        self.last_peer_id = stream_id
        full = len(self.by_id) >= self._limits.max_streams
        if full or (self.refuse_above is not None and stream_id > self.refuse_above):
            self._guard.stream_abandoned()
            self._outbox.put(frames.reset_frame(stream_id, ErrorCode.REFUSED_STREAM))
            return None
        return self._add(stream_id)

    def _add(self, stream_id: int) -> Stream:
        stream = Stream(stream_id=stream_id, receive_window=self._limits.stream_window, send_window=self._initial_window)
        self.by_id[stream_id] = stream
        return stream

    def set_initial_window(self, size: int) -> None:
        """The peer's SETTINGS_INITIAL_WINDOW_SIZE, for streams to come and those that are (RFC 9113 §6.9.2)."""
        if size > frames.MAX_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "initial window is too large")
        difference, self._initial_window = size - self._initial_window, size
        for stream in self.by_id.values():
            self._outbox.adjust(difference, stream)

    def expect_closed(self, stream_id: int, kind: str) -> None:
        """Late frames of closed streams are part of life; those of streams that never were are not."""
        ours = bool(stream_id & 1) is (self._role is Role.CLIENT)
        known = stream_id < self.next_id if ours else stream_id <= self.last_peer_id
        if not stream_id or not known:
            raise protocol_fault(f"{kind} on idle stream {stream_id}")
        self._guard.idle_frame(f"late {kind}")

    def break_off(self, fault: StreamFault) -> bool:
        """Reset the stream that the peer broke a rule on; True if it was open."""
        self._outbox.put(frames.reset_frame(fault.stream_id, fault.code))
        self._guard.stream_abandoned()
        stream = self.by_id.get(fault.stream_id)
        if stream is None:
            return False
        self.drop(stream)
        return True

    def refused_above(self, last: int) -> list[int]:
        """Drop what the peer will not serve any more, since its GOAWAY named `last`; their ids."""
        gone = [stream for stream in self.by_id.values() if stream.stream_id > last]
        for stream in gone:
            self.drop(stream)
        return [stream.stream_id for stream in gone]

    def acknowledge(self, stream: Stream, size: int) -> None:
        """The application has taken so much: the peer may send as much again, told it by quarters of the window."""
        stream.unread -= size
        self._inbound.taken(size)
        if not stream.remote_open:
            return
        stream.to_credit += size
        if stream.to_credit * 4 >= self._limits.stream_window:
            self._outbox.put(frames.window_update_frame(stream.stream_id, stream.to_credit))
            stream.receive_window += stream.to_credit
            stream.to_credit = 0

    def remote_end(self, stream: Stream) -> None:
        """The peer has said everything."""
        if stream.local_open:
            stream.state = StreamState.HALF_CLOSED_REMOTE
        else:
            self._done(stream)

    def local_end(self, stream: Stream) -> None:
        """Our last frame is queued. A server that has answered wants no more of the request (RFC 9113 §8.1)."""
        if not stream.remote_open:
            self._done(stream)
        elif self._role is Role.SERVER:
            self._outbox.put(frames.reset_frame(stream.stream_id, ErrorCode.NO_ERROR))
            self._done(stream)
        else:
            stream.state = StreamState.HALF_CLOSED_LOCAL

    def _done(self, stream: Stream) -> None:
        self._guard.stream_finished()
        self.drop(stream)

    def drop(self, stream: Stream) -> None:
        """Forget it, with what it has unread and unsent."""
        self.by_id.pop(stream.stream_id, None)
        self._inbound.taken(stream.unread)
        self._outbox.forget(stream)
