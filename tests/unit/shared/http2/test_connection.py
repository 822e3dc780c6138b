"""Two connections talking in memory, and one being talked to by somebody hostile."""

from __future__ import annotations

import itertools

import hpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.http2 import (
    Connection,
    ConnectionEnded,
    DataReceived,
    ErrorCode,
    Event,
    GoAwayReceived,
    HeadersReceived,
    Limits,
    PingAnswered,
    Role,
    StreamReset,
    encode_headers,
    frames,
)

REQUEST = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a.B/C"), (b":authority", b"localhost"), (b"te", b"trailers")]
RESPONSE = [(b":status", b"200"), (b"content-type", b"application/grpc")]
TRAILERS = [(b"grpc-status", b"0")]
HELLO = frames.PREFACE + frames.settings_frame([])


def frame(kind: int, flags: int, stream_id: int, body: bytes = b"") -> bytes:
    return frames.frame_header(len(body), kind, flags, stream_id) + body


def request(stream_id: int, *, flags: int = frames.END_HEADERS) -> bytes:
    return frame(frames.HEADERS, flags, stream_id, encode_headers(REQUEST))


def exchange(client: Connection, server: Connection) -> tuple[list[Event], list[Event]]:
    """Until neither has anything to say; what the client and what the server heard."""
    at_client: list[Event] = []
    at_server: list[Event] = []
    while True:
        up, down = client.take(), server.take()
        if not up and not down:
            return at_client, at_server
        at_server += server.feed(up)
        at_client += client.feed(down)


def pair(limits: Limits | None = None) -> tuple[Connection, Connection]:
    client, server = Connection(role=Role.CLIENT, limits=limits), Connection(role=Role.SERVER, limits=limits)
    exchange(client, server)
    return client, server


def fed(*parts: bytes, limits: Limits | None = None) -> list[Event]:
    """Events of a server that hears a hello and then these bytes."""
    server = Connection(role=Role.SERVER, limits=limits)
    return server.feed(HELLO + b"".join(parts))


def ended(events: list[Event]) -> ConnectionEnded:
    assert isinstance(events[-1], ConnectionEnded), events[-3:]
    return events[-1]


def data_of(events: list[Event]) -> bytes:
    return b"".join(event.data for event in events if isinstance(event, DataReceived))


class TestConversation:
    def test_request_and_response(self) -> None:
        """Headers, data and trailers arrive in order, and afterwards nothing is left of the stream."""
        client, server = pair()

        stream = client.open_stream(REQUEST)
        client.send_data(stream, b"question", end_stream=True)
        _, heard = exchange(client, server)
        assert heard == [HeadersReceived(1, REQUEST, False, False), DataReceived(1, b"question", 8, True)]

        server.send_headers(stream, RESPONSE)
        server.send_data(stream, b"answer")
        server.send_headers(stream, TRAILERS, end_stream=True)
        heard, _ = exchange(client, server)
        assert heard == [
            HeadersReceived(1, RESPONSE, False, False),
            DataReceived(1, b"answer", 6, False),
            HeadersReceived(1, TRAILERS, True, True),
        ]
        assert (client.open_streams, server.open_streams) == (0, 0)

    def test_flow_control_holds_back(self) -> None:
        """No more is sent than the window allows until the application has taken it, and then everything arrives."""
        client, server = pair(Limits(stream_window=100_000, connection_window=250_000))
        body = bytes(range(256)) * 4000

        stream = client.open_stream(REQUEST)
        client.send_data(stream, body, end_stream=True)
        _, heard = exchange(client, server)
        assert len(data_of(heard)) == 100_000
        assert client.queued(stream) == len(body) - 100_000

        got = data_of(heard)
        taken = 100_000
        while taken:
            server.acknowledge(stream, taken)
            _, heard = exchange(client, server)
            got += data_of(heard)
            taken = len(data_of(heard))
        assert got == body

    def test_streams_take_turns(self) -> None:
        """A long body doesn't starve a short one."""
        client, server = pair()
        long, short = client.open_stream(REQUEST), client.open_stream(REQUEST)
        client.send_data(long, b"x" * 900_000, end_stream=True)
        client.send_data(short, b"y", end_stream=True)

        events = server.feed(client.take(budget=300_000))

        assert DataReceived(short, b"y", 1, True) in events

    def test_drained_names_the_watched_stream_once(self) -> None:
        """A writer that waits is told when little is left."""
        client, server = pair(Limits(stream_window=200_000))
        stream = client.open_stream(REQUEST)
        client.send_data(stream, b"x" * 300_000)
        exchange(client, server)
        assert client.watch(stream)
        assert client.drained() == []

        server.acknowledge(stream, 200_000)
        exchange(client, server)

        assert client.drained() == [stream]
        assert not client.watch(stream)

    def test_unread_data_shuts_the_connection_window(self) -> None:
        """Streams that nobody reads can't hold more than `max_unread` together (plus what was allowed before)."""
        limits = Limits(stream_window=100_000, connection_window=200_000, max_unread=50_000)
        client, server = pair(limits)
        for _ in range(10):
            client.send_data(client.open_stream(REQUEST), b"x" * 100_000)

        exchange(client, server)

        assert server.statistics()["unread"] <= 250_000

        for stream in range(1, 21, 2):  # streams that end no longer count, and the window opens again
            server.reset(stream)
        fresh = client.open_stream(REQUEST)
        client.send_data(fresh, b"y" * 100_000)
        _, heard = exchange(client, server)
        assert sum(len(e.data) for e in heard if isinstance(e, DataReceived) and e.stream_id == fresh) == 100_000

    def test_reset_reaches_the_peer(self) -> None:
        """A reset from either side is one event at the other."""
        client, server = pair()
        one, two = client.open_stream(REQUEST), client.open_stream(REQUEST)
        exchange(client, server)

        client.reset(one)
        server.reset(two, ErrorCode.REFUSED_STREAM)
        at_client, at_server = exchange(client, server)

        assert at_client == [StreamReset(two, ErrorCode.REFUSED_STREAM, True)]
        assert at_server == [StreamReset(one, ErrorCode.CANCEL, True)]
        assert (client.open_streams, server.open_streams) == (0, 0)

    def test_early_answer_ends_the_request(self) -> None:
        """A server that has answered wants no more: RST_STREAM with NO_ERROR (RFC 9113 §8.1)."""
        client, server = pair()
        stream = client.open_stream(REQUEST)
        exchange(client, server)

        server.send_headers(stream, [*RESPONSE, *TRAILERS], end_stream=True)
        heard, _ = exchange(client, server)

        assert heard[0] == HeadersReceived(stream, [*RESPONSE, *TRAILERS], True, False)
        assert heard[1] == StreamReset(stream, ErrorCode.NO_ERROR, True)

    def test_drain_refuses_only_later_streams(self) -> None:
        """Graceful GOAWAY: first a warning, after a round trip the final word."""
        client, server = pair()
        stream = client.open_stream(REQUEST)
        exchange(client, server)

        server.drain()
        heard, _ = exchange(client, server)

        assert [e.last_stream_id for e in heard if isinstance(e, GoAwayReceived)] == [frames.MAX_WINDOW, stream]
        assert not client.can_open
        server.send_headers(stream, RESPONSE, end_stream=True)
        heard, _ = exchange(client, server)
        assert heard

    def test_ping(self) -> None:
        client, server = pair()
        client.ping(b"12345678")
        assert exchange(client, server) == ([PingAnswered(b"12345678")], [])

    def test_large_headers_use_continuation(self) -> None:
        """A block beyond a frame travels in several."""
        client, server = pair()
        big = [*REQUEST, (b"x-big", b"v" * 100_000)]
        stream = client.open_stream(big)
        _, heard = exchange(client, server)
        assert heard == [HeadersReceived(stream, big, False, False)]

    def test_peer_that_indexes_headers(self) -> None:
        """Blocks made with a dynamic table and Huffman coding are read; the second one refers to the first."""
        encoder = hpack.Encoder()
        first = frame(frames.HEADERS, frames.END_HEADERS, 1, encoder.encode(REQUEST))
        second = frame(frames.HEADERS, frames.END_HEADERS, 3, encoder.encode(REQUEST))
        assert len(second) < len(first)
        assert [e.headers for e in fed(first, second) if isinstance(e, HeadersReceived)] == [REQUEST, REQUEST]

    def test_peer_limits_streams(self) -> None:
        client, _ = pair(Limits(max_streams=2))
        client.open_stream(REQUEST)
        assert client.can_open
        client.open_stream(REQUEST)
        assert not client.can_open


class TestHostile:
    """Each of these ends the connection (or the stream) with the right code, and never with an exception."""

    @pytest.mark.parametrize(
        ("parts", "code"),
        [
            ([frame(frames.DATA, 0, 0, b"x")], ErrorCode.PROTOCOL_ERROR),
            ([frame(frames.DATA, 0, 5, b"x")], ErrorCode.PROTOCOL_ERROR),
            ([request(2)], ErrorCode.PROTOCOL_ERROR),
            ([request(0)], ErrorCode.PROTOCOL_ERROR),
            ([frame(frames.HEADERS, 0, 1, b"\x82"), frame(frames.PING, 0, 0, b"x" * 8)], ErrorCode.PROTOCOL_ERROR),
            ([frame(frames.CONTINUATION, frames.END_HEADERS, 1, b"")], ErrorCode.PROTOCOL_ERROR),
            ([frame(frames.HEADERS, frames.END_HEADERS, 1, b"\xff\xff\xff\xff\xff")], ErrorCode.COMPRESSION_ERROR),
            ([frame(frames.HEADERS, frames.END_HEADERS, 1, b"\x80")], ErrorCode.COMPRESSION_ERROR),
            ([frame(frames.PUSH_PROMISE, 0, 1, b"\0\0\0\2")], ErrorCode.PROTOCOL_ERROR),
            ([frame(frames.SETTINGS, 0, 0, b"12345")], ErrorCode.FRAME_SIZE_ERROR),
            ([frame(frames.SETTINGS, frames.ACK, 0, b"123456")], ErrorCode.FRAME_SIZE_ERROR),
            ([frame(frames.SETTINGS, 0, 1, b"")], ErrorCode.PROTOCOL_ERROR),
            ([frames.settings_frame([(frames.SETTING_INITIAL_WINDOW_SIZE, 2**31)])], ErrorCode.FLOW_CONTROL_ERROR),
            ([frames.settings_frame([(frames.SETTING_MAX_FRAME_SIZE, 1)])], ErrorCode.PROTOCOL_ERROR),
            ([frames.settings_frame([(frames.SETTING_ENABLE_PUSH, 7)])], ErrorCode.PROTOCOL_ERROR),
            ([frame(frames.PING, 0, 0, b"short")], ErrorCode.FRAME_SIZE_ERROR),
            ([frame(frames.PING, 0, 1, b"12345678")], ErrorCode.PROTOCOL_ERROR),
            ([frame(frames.GOAWAY, 0, 0, b"1")], ErrorCode.PROTOCOL_ERROR),
            ([frame(frames.RST_STREAM, 0, 1, b"\0\0\0\0")], ErrorCode.PROTOCOL_ERROR),
            ([frame(frames.RST_STREAM, 0, 1, b"\0")], ErrorCode.FRAME_SIZE_ERROR),
            ([frames.window_update_frame(0, 0)], ErrorCode.PROTOCOL_ERROR),
            ([frames.window_update_frame(0, 2**31 - 1)], ErrorCode.FLOW_CONTROL_ERROR),
            ([frames.window_update_frame(9, 1)], ErrorCode.PROTOCOL_ERROR),
            ([frame(frames.PRIORITY, 0, 1, b"123")], ErrorCode.FRAME_SIZE_ERROR),
            ([request(1), frame(frames.DATA, frames.PADDED, 1, b"\x09abc")], ErrorCode.PROTOCOL_ERROR),
            ([frames.frame_header(2**24 - 1, frames.DATA, 0, 1)], ErrorCode.FRAME_SIZE_ERROR),
        ],
    )
    def test_broken_frames_end_the_connection(self, parts: list[bytes], code: ErrorCode) -> None:
        assert ended(fed(*parts)).code is code

    @pytest.mark.parametrize(
        "fields",
        [
            [*REQUEST, (b"Upper", b"x")],
            [*REQUEST, (b"connection", b"close")],
            [*REQUEST, (b"te", b"gzip")],
            [*REQUEST, (b"", b"x")],
            [*REQUEST, (b"x y", b"x")],
            [*REQUEST, (b"x", b"a\r\nb")],
            [*REQUEST, (b":path", b"/again")],
            [(b"x", b"first"), *REQUEST],
            [*REQUEST[1:]],
            [*REQUEST, (b":status", b"200")],
        ],
    )
    def test_bad_requests_end_only_their_stream(self, fields: list[tuple[bytes, bytes]]) -> None:
        """The next request is served."""
        bad = frame(frames.HEADERS, frames.END_HEADERS, 1, encode_headers(fields))
        events = fed(bad, request(3))
        assert [type(e) for e in events] == [StreamReset, HeadersReceived]
        assert events[0] == StreamReset(1, ErrorCode.PROTOCOL_ERROR, False)

    def test_stream_window_overflow_ends_the_stream(self) -> None:
        events = fed(request(1), frames.window_update_frame(1, 2**31 - 1), request(3))
        assert events[1] == StreamReset(1, ErrorCode.FLOW_CONTROL_ERROR, False)
        assert isinstance(events[2], HeadersReceived)

    def test_too_much_data_for_a_stream(self) -> None:
        events = fed(request(1), frame(frames.DATA, 0, 1, b"x" * 1001), limits=Limits(stream_window=1000))
        assert events[-1] == StreamReset(1, ErrorCode.FLOW_CONTROL_ERROR, False)

    def test_too_much_data_for_the_connection(self) -> None:
        limits = Limits(connection_window=65_535, stream_window=100_000)
        parts = [request(1), *(frame(frames.DATA, 0, 1, b"x" * 16_384) for _ in range(5))]
        assert ended(fed(*parts, limits=limits)).code is ErrorCode.FLOW_CONTROL_ERROR

    def test_data_after_the_end(self) -> None:
        events = fed(request(1, flags=frames.END_HEADERS | frames.END_STREAM), frame(frames.DATA, 0, 1, b"x"))
        assert events[-1] == StreamReset(1, ErrorCode.STREAM_CLOSED, False)

    def test_not_http2_at_all(self) -> None:
        server = Connection(role=Role.SERVER)
        assert ended(server.feed(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")).code is ErrorCode.PROTOCOL_ERROR

    def test_first_frame_must_be_settings(self) -> None:
        server = Connection(role=Role.SERVER)
        assert ended(server.feed(frames.PREFACE + frame(frames.PING, 0, 0, b"12345678"))).code is ErrorCode.PROTOCOL_ERROR
        server = Connection(role=Role.SERVER)
        assert ended(server.feed(frames.PREFACE + frame(frames.DATA, 0, 1, b"x"))).code is ErrorCode.PROTOCOL_ERROR

    def test_rapid_reset(self) -> None:
        """CVE-2023-44487."""
        limits = Limits(max_abandoned=100)
        parts = [request(n) + frames.reset_frame(n, ErrorCode.CANCEL) for n in range(1, 301, 2)]
        assert ended(fed(*parts, limits=limits)).code is ErrorCode.ENHANCE_YOUR_CALM

    def test_made_us_reset(self) -> None:
        """Its sibling of 2025: streams that the server itself has to reset."""
        limits = Limits(max_abandoned=100)
        parts = [request(n) + frames.window_update_frame(n, 0) for n in range(1, 301, 2)]
        assert ended(fed(*parts, limits=limits)).code is ErrorCode.ENHANCE_YOUR_CALM

    def test_continuation_flood(self) -> None:
        """CVE-2024-27316: by count and by size."""
        begin = frame(frames.HEADERS, 0, 1, b"")
        empty = [frame(frames.CONTINUATION, 0, 1, b"")] * 200
        large = [frame(frames.CONTINUATION, 0, 1, b"\0" * 16_384)] * 100
        assert ended(fed(begin, *empty)).code is ErrorCode.ENHANCE_YOUR_CALM
        assert ended(fed(begin, *large)).code is ErrorCode.ENHANCE_YOUR_CALM

    def test_header_bomb(self) -> None:
        """A small block that refers to a large entry of the dynamic table again and again."""
        block = b"\x40\x01a" + b"\x7f\xa1\x1e" + b"v" * 4000 + b"\xbe" * 5000
        assert ended(fed(frame(frames.HEADERS, frames.END_HEADERS, 1, block))).code is ErrorCode.ENHANCE_YOUR_CALM

    @pytest.mark.parametrize(
        "one",
        [
            frame(frames.PING, 0, 0, b"12345678"),
            frames.settings_frame([]),
            frame(frames.PRIORITY, 0, 1, b"12345"),
            frame(0xEE, 0, 0, b""),
            frames.window_update_frame(0, 1),
        ],
    )
    def test_floods(self, one: bytes) -> None:
        """CVE-2019-9512, -9515, -9513: frames that move nothing."""
        limits = Limits(max_idle_frames=500)
        assert ended(fed(one * 600, limits=limits)).code is ErrorCode.ENHANCE_YOUR_CALM
        server = Connection(role=Role.SERVER, limits=limits)
        server.feed(HELLO)
        for _ in range(6):
            assert server.feed(one * 400) in ([], [PingAnswered(b"12345678")])
            server.take()
            server.relax()

    def test_empty_data_flood(self) -> None:
        limits = Limits(max_idle_frames=500)
        assert ended(fed(request(1), frame(frames.DATA, 0, 1) * 600, limits=limits)).code is ErrorCode.ENHANCE_YOUR_CALM

    def test_peer_that_never_reads(self) -> None:
        """Answers pile up to a limit only."""
        limits = Limits(max_idle_frames=10**9, max_unsent=10_000)
        assert ended(fed(frame(frames.PING, 0, 0, b"12345678") * 1000, limits=limits)).code is ErrorCode.ENHANCE_YOUR_CALM

    def test_too_many_streams_are_refused(self) -> None:
        server = Connection(role=Role.SERVER, limits=Limits(max_streams=2))
        events = server.feed(HELLO + request(1) + request(3) + request(5))
        assert len(events) == 2
        assert frames.reset_frame(5, ErrorCode.REFUSED_STREAM) in server.take()

    def test_nothing_is_heard_after_the_end(self) -> None:
        server = Connection(role=Role.SERVER)
        server.feed(b"x" * 24)
        assert server.feed(HELLO + request(1)) == []
        assert server.take()


CONVERSATION = b"".join(
    [
        HELLO,
        request(1),
        frame(frames.DATA, 0, 1, b"a" * 3000),
        frame(frames.DATA, frames.PADDED, 1, b"\x03bcd\0\0\0"),
        frame(frames.PING, 0, 0, b"12345678"),
        request(3, flags=frames.END_HEADERS | frames.END_STREAM),
        frame(frames.HEADERS, 0, 5, encode_headers(REQUEST)[:5]),
        frame(frames.CONTINUATION, frames.END_HEADERS, 5, encode_headers(REQUEST)[5:]),
        frame(frames.DATA, 0, 5, b"x" * 100),
        frame(frames.DATA, 0, 5, b"y" * 100),
        frame(frames.DATA, frames.END_STREAM, 1, b"end"),
        frames.reset_frame(5, ErrorCode.CANCEL),
        frames.window_update_frame(0, 1000),
    ]
)


def merged(events: list[Event]) -> list[object]:
    """Neighbouring data of a stream counts as one, since how it is cut depends on the chunks."""
    out: list[object] = []
    for event in events:
        before = out[-1] if out else None
        if isinstance(event, DataReceived) and isinstance(before, DataReceived) and before.stream_id == event.stream_id:
            joined = DataReceived(event.stream_id, before.data + event.data, before.flow_size + event.flow_size, event.end_stream)
            out[-1] = joined
        else:
            out.append(event)
    return out


@given(st.lists(st.integers(0, len(CONVERSATION)), max_size=12))
def test_any_split_gives_the_same_events(cuts: list[int]) -> None:
    """Chunks of the transport mean nothing."""
    whole = Connection(role=Role.SERVER).feed(CONVERSATION)
    server, events = Connection(role=Role.SERVER), []
    borders = [0, *sorted(cuts), len(CONVERSATION)]
    for start, stop in itertools.pairwise(borders):
        events += server.feed(CONVERSATION[start:stop])

    assert merged(events) == merged(whole)


@given(st.lists(st.binary(max_size=200), max_size=10))
def test_random_bytes_never_raise(chunks: list[bytes]) -> None:
    """At most the connection ends."""
    for role, hello in ((Role.SERVER, HELLO), (Role.CLIENT, frames.settings_frame([]))):
        connection = Connection(role=role)
        connection.feed(hello)
        for chunk in chunks:
            connection.feed(chunk)
            connection.take()


FRAMES = st.tuples(st.integers(0, 10), st.integers(0, 255), st.sampled_from([0, 1, 2, 3, 5, 7, 2**31 - 1]), st.binary(max_size=40))


@given(st.lists(FRAMES, max_size=30))
def test_random_frames_never_raise(sequence: list[tuple[int, int, int, bytes]]) -> None:
    """Well-formed headers of nonsense: events or the end, and counters that never go wrong."""
    for role, hello in ((Role.SERVER, HELLO + request(1) + request(3)), (Role.CLIENT, frames.settings_frame([]))):
        connection = Connection(role=role)
        if role is Role.CLIENT:
            connection.open_stream(REQUEST)
        connection.feed(hello)
        for kind, flags, stream_id, body in sequence:
            for event in connection.feed(frame(kind, flags, stream_id, body)):
                if isinstance(event, DataReceived):
                    connection.acknowledge(event.stream_id, event.flow_size)
            connection.take()
        statistics = connection.statistics()
        assert statistics["unread"] >= 0
        assert statistics["send_window"] <= frames.MAX_WINDOW
