"""What is sent when: urgent frames at once, data as the windows allow, streams in turn, trailers last."""

import pytest

from shared.http2 import frames
from shared.http2.fault import ConnectionFault, StreamFault
from shared.http2.frames import ErrorCode
from shared.http2.outbox import LOW_WATER, Outbox
from shared.http2.stream import Stream, StreamState

ALL = 1 << 30


def parsed(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """(kind, flags, stream, body) of each frame."""
    found = []
    while data:
        size, kind, flags, stream = int.from_bytes(data[:3]), data[3], data[4], int.from_bytes(data[5:9])
        found.append((kind, flags, stream, data[9 : 9 + size]))
        data = data[9 + size :]
    return found


class World:
    def __init__(self, window: int = 1 << 20) -> None:
        self.ended: list[int] = []
        self.box = Outbox(lambda stream: self.ended.append(stream.stream_id))
        self.box.window = window

    def stream(self, number: int, window: int = 1 << 20) -> Stream:
        return Stream(stream_id=number, receive_window=0, send_window=window)

    def sent(self, budget: int = ALL) -> list[tuple[int, int, int, bytes]]:
        return parsed(self.box.take(budget))


def test_urgent_frames_go_before_data_and_need_no_window() -> None:
    world = World(window=0)
    world.box.put_data(world.stream(1), b"data", end_stream=False)
    world.box.put(frames.ping_frame(b"12345678", ack=True))
    assert world.box.urgent_size == 17

    assert [kind for kind, *_ in world.sent()] == [frames.PING]
    assert world.box.urgent_size == 0


def test_data_ends_where_a_window_ends_and_goes_on_with_credit() -> None:
    world = World(window=5)
    stream = world.stream(1, window=8)
    world.box.put_data(stream, b"0123456789", end_stream=True)
    assert world.sent() == [(frames.DATA, 0, 1, b"01234")]

    world.box.credit(100, None)
    assert world.sent() == [(frames.DATA, 0, 1, b"567")]
    assert (world.sent(), world.ended) == ([], [])

    world.box.credit(2, stream)
    assert world.sent() == [(frames.DATA, frames.END_STREAM, 1, b"89")]
    assert (world.ended, stream.send_window, world.box.window) == ([1], 0, 95)


def test_streams_take_turns_a_frame_each() -> None:
    world = World()
    for number in (1, 3):
        world.box.put_data(world.stream(number), bytes(2 * frames.DEFAULT_FRAME_SIZE), end_stream=False)

    assert [stream for _, _, stream, _ in world.sent()] == [1, 3, 1, 3]


def test_the_budget_bounds_data_only() -> None:
    world = World()
    world.box.put_data(world.stream(1), bytes(100), end_stream=False)
    world.box.put(b"x" * 50)

    assert len(world.box.take(10)) == 50 + 9 + 10


def test_trailers_wait_for_the_data_before_them() -> None:
    world = World(window=3)
    stream = world.stream(1)
    world.box.put_data(stream, b"abcd", end_stream=False)
    world.box.put_headers(stream, b"block", end_stream=True)
    assert world.sent() == [(frames.DATA, 0, 1, b"abc")]

    world.box.credit(10, None)
    flags = frames.END_STREAM | frames.END_HEADERS
    assert world.sent() == [(frames.DATA, 0, 1, b"d"), (frames.HEADERS, flags, 1, b"block")]
    assert world.ended == [1]


def test_headers_after_data_must_be_the_last() -> None:
    world = World()
    stream = world.stream(1)
    world.box.put_data(stream, b"a", end_stream=False)

    with pytest.raises(AssertionError, match="trailers"):
        world.box.put_headers(stream, b"block", end_stream=False)


def test_an_empty_end_needs_no_window() -> None:
    world = World(window=0)
    world.box.put_data(world.stream(1), b"", end_stream=True)

    assert world.sent() == [(frames.DATA, frames.END_STREAM, 1, b"")]
    assert world.ended == [1]


def test_large_header_blocks_are_continued() -> None:
    world = World()
    world.box.put_headers(world.stream(1), bytes(frames.DEFAULT_FRAME_SIZE + 1), end_stream=False)

    first, second = world.sent()
    assert (first[0], first[1] & frames.END_HEADERS, len(first[3])) == (frames.HEADERS, 0, frames.DEFAULT_FRAME_SIZE)
    assert (second[0], second[1] & frames.END_HEADERS, len(second[3])) == (frames.CONTINUATION, frames.END_HEADERS, 1)


def test_writers_are_woken_once_when_little_is_left() -> None:
    world = World(window=10)
    stream = world.stream(1)
    world.box.put_data(stream, bytes(LOW_WATER + 20), end_stream=False)
    stream.watched = True
    world.sent()
    assert world.box.drained() == []

    world.box.credit(10, None)
    world.sent()
    assert (world.box.drained(), world.box.drained(), stream.watched) == ([1], [], False)


def test_a_forgotten_stream_sends_nothing_more_and_wakes_its_writer() -> None:
    world = World()
    stream = world.stream(1)
    world.box.put_data(stream, b"abc", end_stream=True)
    stream.watched = True
    world.box.forget(stream)

    assert (world.sent(), world.box.drained(), world.ended) == ([], [1], [])


@pytest.mark.parametrize("by", ["connection", "stream", "settings"])
def test_windows_beyond_the_maximum_are_faults(by: str) -> None:
    """RFC 9113 §6.9.1 and §6.9.2."""
    world = World(window=frames.MAX_WINDOW)
    stream = world.stream(1, window=frames.MAX_WINDOW)
    with pytest.raises((ConnectionFault, StreamFault)) as fault:
        match by:
            case "connection":
                world.box.credit(1, None)
            case "stream":
                world.box.credit(1, stream)
            case _:
                world.box.adjust(1, stream)

    assert fault.value.code is ErrorCode.FLOW_CONTROL_ERROR
    assert isinstance(fault.value, StreamFault) == (by == "stream")


def test_a_smaller_initial_window_can_make_a_stream_s_negative() -> None:
    world = World()
    stream = world.stream(1, window=5)
    world.box.adjust(-10, stream)
    world.box.put_data(stream, b"abc", end_stream=False)
    assert (stream.send_window, world.sent()) == (-5, [])

    world.box.adjust(10, stream)
    assert world.sent() == [(frames.DATA, 0, 1, b"abc")]


@pytest.mark.parametrize("size", [0, frames.DEFAULT_FRAME_SIZE - 1, 1 << 24])
def test_frame_sizes_out_of_range_are_refused(size: int) -> None:
    with pytest.raises(ConnectionFault, match="out of range"):
        World().box.set_frame_size(size)


@pytest.mark.parametrize(
    ("state", "remote", "local"),
    [(StreamState.OPEN, True, True), (StreamState.HALF_CLOSED_LOCAL, True, False), (StreamState.HALF_CLOSED_REMOTE, False, True)],
)
def test_halves_of_a_stream(state: StreamState, remote: bool, local: bool) -> None:
    stream = Stream(stream_id=1, receive_window=0, send_window=0, state=state)

    assert (stream.remote_open, stream.local_open) == (remote, local)
