"""The connection: takes bytes apart into frames, keeps the streams, answers what the protocol itself must answer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from shared.http2 import frames, headers
from shared.http2.events import (
    ConnectionEnded,
    DataReceived,
    Event,
    GoAwayReceived,
    Headers,
    HeadersReceived,
    PingAnswered,
    StreamReset,
)
from shared.http2.fault import ConnectionFault, StreamFault, protocol_fault
from shared.http2.frames import ErrorCode
from shared.http2.guard import FloodGuard
from shared.http2.header_block import HeaderBlock, without_padding
from shared.http2.inbound import InboundWindow
from shared.http2.limits import Limits
from shared.http2.outbox import Outbox
from shared.http2.streams import Role, Streams

_DRAIN_PING: Final = b"drain-01"
_UNLIMITED: Final = 1 << 62


class Connection:
    """One side of an HTTP/2 connection with prior knowledge.

    Call `feed` with what came, `take` for what is to go (after every call that may have queued something), and
    `acknowledge` when the application has taken data. Stream ids are those of RFC 9113: odd ones are the client's.
    """

    def __init__(self, *, role: Role, limits: Limits | None = None) -> None:
        self.role = role
        self.limits = limits or Limits()
        self.ended: ConnectionEnded | None = None
        self.peer_going_away = False
        self._guard = FloodGuard(self.limits)
        self._all = Streams(role, self.limits, self._guard)
        self._streams = self._all.by_id
        self._outbox = Outbox(self._all.local_end)
        self._inbound = InboundWindow(self.limits, self._outbox)
        self._all.connect(self._outbox, self._inbound)
        self._block = HeaderBlock(self.limits)
        self._held = bytearray()
        self._need = len(frames.PREFACE) if role is Role.SERVER else frames.HEADER_SIZE
        self._had_preface = role is Role.CLIENT
        self._had_settings = False
        self._start()

    def _start(self) -> None:
        if self.role is Role.CLIENT:
            self._outbox.put(frames.PREFACE)
        self._outbox.put(frames.settings_frame(self.limits.settings()))
        extra = self.limits.connection_window - frames.DEFAULT_WINDOW
        if extra > 0:
            self._outbox.put(frames.window_update_frame(0, extra))

    # -- what the application asks for ------------------------------------------------------------------------------

    @property
    def open_streams(self) -> int:
        return len(self._streams)

    @property
    def established(self) -> bool:
        """Whether the peer has shown itself to speak HTTP/2."""
        return self._had_settings

    @property
    def can_open(self) -> bool:
        """Whether `open_stream` may be called now; if not, wait for a stream to end."""
        alive = self.ended is None and not self.peer_going_away
        return alive and self._all.may_open

    def open_stream(self, fields: Iterable[tuple[bytes, bytes]], *, end_stream: bool = False) -> int:
        """Client only: send a request's headers; returns the new stream's id."""
        stream = self._all.open()
        self._outbox.put_headers(stream, headers.encode(fields), end_stream=end_stream)
        return stream.stream_id

    def send_headers(self, stream_id: int, fields: Iterable[tuple[bytes, bytes]], *, end_stream: bool = False) -> None:
        """Response headers, or trailers with `end_stream`. On a stream that is gone it does nothing."""
        self.send_block(stream_id, headers.encode(fields), end_stream=end_stream)

    def send_block(self, stream_id: int, block: bytes, *, end_stream: bool = False) -> None:
        """`send_headers` with a block that `encode_headers` made before."""
        stream = self._streams.get(stream_id)
        if stream is not None and stream.local_open:
            self._guard.useful()
            self._outbox.put_headers(stream, block, end_stream=end_stream)

    def send_data(self, stream_id: int, data: bytes, *, end_stream: bool = False) -> None:
        """Queue data; it goes out as the peer's windows allow. On a stream that is gone it does nothing."""
        stream = self._streams.get(stream_id)
        if stream is not None and stream.local_open:
            self._guard.useful()
            self._outbox.put_data(stream, data, end_stream=end_stream)

    def queued(self, stream_id: int) -> int:
        """Bytes of `send_data` that did not go out yet."""
        stream = self._streams.get(stream_id)
        return 0 if stream is None else len(stream.pending)

    def watch(self, stream_id: int) -> bool:
        """Ask for the stream to be named by `drained` once little is left; False when there is nothing to wait for."""
        stream = self._streams.get(stream_id)
        if stream is None or not stream.pending:
            return False
        stream.watched = True
        return True

    def drained(self) -> list[int]:
        return self._outbox.drained()

    def acknowledge(self, stream_id: int, size: int) -> None:
        """The application has taken `size` bytes (`DataReceived.flow_size`) of a stream; the peer may send as many more."""
        stream = self._streams.get(stream_id)
        if stream is not None:  # when it ended, what was unread stopped counting
            self._all.acknowledge(stream, size)

    def reset(self, stream_id: int, code: ErrorCode = ErrorCode.CANCEL) -> None:
        """Break a stream off from our side."""
        stream = self._streams.get(stream_id)
        if stream is not None:
            self._outbox.put(frames.reset_frame(stream_id, code))
            self._all.drop(stream)

    def ping(self, payload: bytes) -> None:
        """`payload`: 8 bytes, which come back as PingAnswered."""
        self._outbox.put(frames.ping_frame(payload, ack=False))

    def drain(self) -> None:
        """Server: tell the peer to open no more streams; those it opened before it heard of that are still served (RFC 9113 §6.8)."""
        if self._all.refuse_above is None and self.ended is None:
            self._outbox.put(frames.goaway_frame(frames.MAX_WINDOW, ErrorCode.NO_ERROR, b""))
            self.ping(_DRAIN_PING)

    def close(self, code: ErrorCode = ErrorCode.NO_ERROR, reason: str = "") -> None:
        """Say GOAWAY and be done; write what `take` gives, then close the transport."""
        if self.ended is None:
            self.ended = ConnectionEnded(code, reason)
            self._outbox.put(frames.goaway_frame(self._all.last_peer_id, code, reason.encode()[:200]))

    def take(self, budget: int = _UNLIMITED) -> bytes:
        """Bytes to write now; at most about `budget` of stream data (0 while the transport is blocked)."""
        return self._outbox.take(budget)

    def relax(self) -> None:
        """Some seconds have passed: floods are measured anew."""
        self._guard.relax()

    def statistics(self) -> dict[str, int]:
        return {
            "open_streams": len(self._streams),
            "unread": self._inbound.unread,
            "queued": sum(len(s.pending) for s in self._streams.values()),
            "send_window": self._outbox.window,
            "receive_window": self._inbound.window,
        }

    # -- receiving --------------------------------------------------------------------------------------------------

    def feed(self, data: bytes) -> list[Event]:
        """Take bytes in any split; whatever they are, only events come out. After ConnectionEnded all else is ignored."""
        if self.ended is not None:
            return []
        if self._held or len(data) < self._need:
            self._held += data
            if len(self._held) < self._need:
                return []
            data = bytes(self._held)
            self._held.clear()
        events: list[Event] = []
        try:
            used = self._frames(data, self._preface(data), events)
            if used < len(data):
                self._held += data[used:]
            if self._outbox.urgent_size > self.limits.max_unsent:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "peer asks much and reads nothing")
        except ConnectionFault as fault:
            self.close(fault.code, fault.reason)
            events.append(ConnectionEnded(fault.code, fault.reason))
        return events

    def _preface(self, data: bytes) -> int:
        if self._had_preface:
            return 0
        if not data.startswith(frames.PREFACE):
            raise protocol_fault("not an HTTP/2 client: preface is missing")
        self._had_preface = True
        return len(frames.PREFACE)

    def _frames(self, data: bytes, pos: int, events: list[Event]) -> int:
        """The hot loop: neighbouring plain DATA frames of a stream are only sliced here and judged together."""
        end, max_size = len(data), self.limits.max_frame_size
        unpack, header_size = frames.FRAME_HEADER.unpack_from, frames.HEADER_SIZE
        parts: list[bytes] = []
        run_stream = -1
        while end - pos >= header_size:
            high, low, kind, flags, stream_id = unpack(data, pos)
            length = high << 8 | low
            if length > max_size:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"frame of {length} bytes")
            stop = pos + header_size + length
            if stop > end:
                self._need = stop - pos
                break
            if kind == 0 and stream_id == run_stream and not flags and length:
                parts.append(data[pos + header_size : stop])
                pos = stop
                continue
            if parts:
                self._data(run_stream, b"".join(parts), 0, 0, events)
                parts, run_stream = [], -1
            if kind == 0 and not flags and length and not self._block.under_way and self._had_settings:
                run_stream = stream_id
                parts.append(data[pos + header_size : stop])
            else:
                self._frame(kind, flags, stream_id & 0x7FFF_FFFF, data[pos + header_size : stop], events)
            pos = stop
        else:
            self._need = header_size
        if parts:
            self._data(run_stream & 0x7FFF_FFFF, b"".join(parts), 0, 0, events)
        return pos

    def _frame(self, kind: int, flags: int, stream_id: int, body: bytes, events: list[Event]) -> None:
        if self._block.under_way and (kind != frames.CONTINUATION or stream_id != self._block.stream_id):
            raise protocol_fault("header block is interrupted by another frame")
        if not self._had_settings:
            if kind != frames.SETTINGS or flags & frames.ACK:
                raise protocol_fault("first frame is not SETTINGS")
            self._had_settings = True
        try:
            match kind:
                case frames.DATA:
                    self._data_frame(flags, stream_id, body, events)
                case frames.HEADERS:
                    self._headers_frame(flags, stream_id, body, events)
                case frames.CONTINUATION:
                    self._continuation(flags, body, events)
                case frames.RST_STREAM:
                    self._reset_frame(stream_id, body, events)
                case frames.SETTINGS:
                    self._settings(flags, stream_id, body)
                case frames.PING:
                    self._ping(flags, stream_id, body, events)
                case frames.GOAWAY:
                    self._goaway(stream_id, body, events)
                case frames.WINDOW_UPDATE:
                    self._window_update(stream_id, body)
                case frames.PRIORITY:
                    self._priority(stream_id, body)
                case frames.PUSH_PROMISE:
                    raise protocol_fault("PUSH_PROMISE although push is off")
                case _:
                    self._guard.idle_frame("unknown")
        except StreamFault as fault:
            self._break_stream(fault, events)

    def _data_frame(self, flags: int, stream_id: int, body: bytes, events: list[Event]) -> None:
        size = len(body)
        if flags & frames.PADDED:
            body = without_padding(body)
        if not body and not flags & frames.END_STREAM:
            self._guard.idle_frame("empty DATA")
        self._data(stream_id, body, size - len(body), flags & frames.END_STREAM, events)

    def _data(self, stream_id: int, data: bytes, padding: int, ends: int, events: list[Event]) -> None:
        size = len(data) + padding
        self._inbound.received(size)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._all.expect_closed(stream_id, "DATA")
            self._inbound.give_back()
            return
        if not stream.remote_open or not stream.had_headers:
            self._break_stream(StreamFault(stream_id, ErrorCode.STREAM_CLOSED, "DATA out of place"), events)
            return
        stream.receive_window -= size
        if stream.receive_window < 0:
            self._break_stream(StreamFault(stream_id, ErrorCode.FLOW_CONTROL_ERROR, "stream window exceeded"), events)
            return
        if data:
            self._guard.useful()
        stream.unread += size
        self._inbound.unread += size
        self._inbound.give_back()
        events.append(DataReceived(stream_id, data, size, bool(ends)))
        if ends:
            self._all.remote_end(stream)

    def _headers_frame(self, flags: int, stream_id: int, body: bytes, events: list[Event]) -> None:
        if stream_id == 0 or (self.role is Role.SERVER and not stream_id & 1):
            raise protocol_fault(f"HEADERS on stream {stream_id}")
        self._block.begin(flags, stream_id, body)
        if flags & frames.END_HEADERS:
            self._block_done(events)

    def _continuation(self, flags: int, body: bytes, events: list[Event]) -> None:
        self._block.add(body)
        if flags & frames.END_HEADERS:
            self._block_done(events)

    def _block_done(self, events: list[Event]) -> None:
        fields, stream_id, ends = self._block.finish(), self._block.stream_id, self._block.ends_stream
        stream = self._streams.get(stream_id)
        if stream is None:
            stream = self._all.accept(stream_id)
            if stream is None:
                return
        if not stream.remote_open:
            raise StreamFault(stream_id, ErrorCode.STREAM_CLOSED, "HEADERS after the end of the stream")
        trailing = stream.had_headers
        if trailing:
            self._check_trailers(stream_id, fields, ends)
        elif self.role is Role.SERVER:
            headers.check_request(stream_id, fields)
        else:
            headers.check_response(stream_id, fields)
            if fields[0][1].startswith(b"1") and not ends:
                return  # informational: the real response follows
        stream.had_headers = True
        self._guard.useful()
        events.append(HeadersReceived(stream_id, fields, ends, trailing))
        if ends:
            self._all.remote_end(stream)

    def _check_trailers(self, stream_id: int, fields: Headers, ends: bool) -> None:
        headers.check_trailers(stream_id, fields)
        if not ends:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "trailers do not end the stream")

    def _reset_frame(self, stream_id: int, body: bytes, events: list[Event]) -> None:
        _exact(body, 4, "RST_STREAM")
        stream = self._streams.get(stream_id)
        if stream is None:
            self._all.expect_closed(stream_id, "RST_STREAM")
            return
        if self.role is Role.SERVER:
            self._guard.stream_abandoned()
        self._all.drop(stream)
        events.append(StreamReset(stream_id, ErrorCode.of(int.from_bytes(body)), True))

    def _settings(self, flags: int, stream_id: int, body: bytes) -> None:
        if stream_id:
            raise protocol_fault("SETTINGS on a stream")
        if flags & frames.ACK:
            _exact(body, 0, "SETTINGS acknowledgement")
            return
        self._guard.idle_frame("SETTINGS")
        if len(body) % 6 or len(body) > 6 * 64:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of odd size")
        for key, value in frames.parse_settings(body):
            self._setting(key, value)
        self._outbox.put(frames.SETTINGS_ACK)

    def _setting(self, key: int, value: int) -> None:
        match key:
            case frames.SETTING_INITIAL_WINDOW_SIZE:
                self._all.set_initial_window(value)
            case frames.SETTING_MAX_FRAME_SIZE:
                self._outbox.set_frame_size(value)
            case frames.SETTING_MAX_CONCURRENT_STREAMS:
                self._all.most = value
            case frames.SETTING_ENABLE_PUSH if value > 1:
                raise protocol_fault("SETTINGS_ENABLE_PUSH is neither 0 nor 1")
            case _:
                pass  # table and list sizes bind an encoder that indexes; unknown settings are to be ignored

    def _ping(self, flags: int, stream_id: int, body: bytes, events: list[Event]) -> None:
        if stream_id:
            raise protocol_fault("PING on a stream")
        _exact(body, 8, "PING")
        if not flags & frames.ACK:
            self._guard.idle_frame("PING")
            self._outbox.put(frames.ping_frame(body, ack=True))
        elif body == _DRAIN_PING and self._all.refuse_above is None:
            self._all.refuse_above = self._all.last_peer_id
            self._outbox.put(frames.goaway_frame(self._all.last_peer_id, ErrorCode.NO_ERROR, b""))
        else:
            events.append(PingAnswered(body))

    def _goaway(self, stream_id: int, body: bytes, events: list[Event]) -> None:
        if stream_id or len(body) < 8:
            raise protocol_fault("malformed GOAWAY")
        self.peer_going_away = True
        last, code = int.from_bytes(body[:4]) & 0x7FFF_FFFF, ErrorCode.of(int.from_bytes(body[4:8]))
        events.append(GoAwayReceived(last, code, body[8:]))
        if self.role is Role.CLIENT:
            events += [StreamReset(refused, ErrorCode.REFUSED_STREAM, True) for refused in self._all.refused_above(last)]

    def _window_update(self, stream_id: int, body: bytes) -> None:
        _exact(body, 4, "WINDOW_UPDATE")
        increment = int.from_bytes(body) & 0x7FFF_FFFF
        stream = self._streams.get(stream_id)
        if stream_id and stream is None:
            self._all.expect_closed(stream_id, "WINDOW_UPDATE")
        elif not increment and stream is None:
            raise protocol_fault("WINDOW_UPDATE by 0")
        elif not increment:
            raise StreamFault(stream_id, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
        else:
            self._guard.idle_frame("WINDOW_UPDATE")
            self._outbox.credit(increment, stream)

    def _priority(self, stream_id: int, body: bytes) -> None:
        if not stream_id:
            raise protocol_fault("PRIORITY without a stream")
        _exact(body, 5, "PRIORITY")
        self._guard.idle_frame("PRIORITY")

    def _break_stream(self, fault: StreamFault, events: list[Event]) -> None:
        if self._all.break_off(fault):
            events.append(StreamReset(fault.stream_id, fault.code, False))


def _exact(body: bytes, size: int, kind: str) -> None:
    if len(body) != size:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, f"{kind} of {len(body)} bytes")
