"""Which streams are open, for whom, and what is late and what was never."""

import pytest

from shared.http2 import frames
from shared.http2.fault import ConnectionFault, StreamFault
from shared.http2.frames import ErrorCode
from shared.http2.guard import FloodGuard
from shared.http2.inbound import InboundWindow
from shared.http2.limits import Limits
from shared.http2.outbox import Outbox
from shared.http2.streams import Role, Streams


def made(role: Role, **limits: int) -> tuple[Streams, Outbox]:
    given = Limits(**limits)
    streams = Streams(role, given, FloodGuard(given))
    outbox = Outbox(streams.local_end)
    streams.connect(outbox, InboundWindow(given, outbox))
    return streams, outbox


def test_a_client_s_streams_are_odd_and_as_many_as_the_peer_takes() -> None:
    streams, _ = made(Role.CLIENT)
    streams.most = 2

    assert [streams.open().stream_id, streams.open().stream_id] == [1, 3]
    assert not streams.may_open
    streams.drop(streams.by_id[1])
    assert streams.may_open


def test_a_server_accepts_rising_numbers_and_refuses_beyond_its_limits() -> None:
    streams, outbox = made(Role.SERVER, max_streams=2)
    assert [streams.accept(n) is not None for n in (1, 5, 3)] == [True, True, False]  # 3 is late: it was closed when 5 came
    assert (streams.accept(7), outbox.take(0)) == (None, frames.reset_frame(7, ErrorCode.REFUSED_STREAM))

    streams.drop(streams.by_id[1])
    streams.refuse_above = 9
    assert streams.accept(9) is not None
    streams.drop(streams.by_id[5])
    assert streams.accept(11) is None


@pytest.mark.parametrize(
    ("role", "stream", "late"),
    [
        (Role.SERVER, 3, True), (Role.SERVER, 5, True), (Role.SERVER, 7, False), (Role.SERVER, 2, False), (Role.SERVER, 0, False),
        (Role.CLIENT, 1, True), (Role.CLIENT, 3, False), (Role.CLIENT, 2, False),
    ],
)  # fmt: skip
def test_late_is_part_of_life_and_idle_is_a_fault(role: Role, stream: int, late: bool) -> None:
    streams, _ = made(role)
    if role is Role.SERVER:
        streams.accept(5)
    else:
        streams.open()
    if late:
        streams.expect_closed(stream, "DATA")
    else:
        with pytest.raises(ConnectionFault, match=f"DATA on idle stream {stream}"):
            streams.expect_closed(stream, "DATA")


def test_a_stream_ends_when_both_sides_have() -> None:
    streams, _ = made(Role.CLIENT)
    first, second = streams.open(), streams.open()
    streams.local_end(first)
    assert (first.local_open, first.remote_open, 1 in streams.by_id) == (False, True, True)
    streams.remote_end(first)
    streams.remote_end(second)
    assert (list(streams.by_id), second.remote_open) == ([3], False)


def test_a_server_that_has_answered_wants_no_more() -> None:
    streams, outbox = made(Role.SERVER)
    stream = streams.accept(1)
    assert stream is not None
    streams.local_end(stream)

    assert (streams.by_id, outbox.take(0)) == ({}, frames.reset_frame(1, ErrorCode.NO_ERROR))


def test_a_stream_s_window_opens_by_quarters_while_the_peer_may_send() -> None:
    streams, outbox = made(Role.SERVER, stream_window=100)
    stream = streams.accept(1)
    assert stream is not None
    stream.receive_window, stream.unread = 50, 50
    streams.acknowledge(stream, 24)
    assert outbox.take(0) == b""
    streams.acknowledge(stream, 1)
    assert (outbox.take(0), stream.receive_window, stream.unread) == (frames.window_update_frame(1, 25), 75, 25)

    streams.remote_end(stream)
    streams.acknowledge(stream, 25)
    assert (outbox.take(0), stream.unread) == (b"", 0)


def test_a_changed_initial_window_moves_all() -> None:
    streams, _ = made(Role.CLIENT)
    old = streams.open()
    streams.set_initial_window(10)
    assert (old.send_window, streams.open().send_window) == (10, 10)

    with pytest.raises(ConnectionFault) as fault:
        streams.set_initial_window(frames.MAX_WINDOW + 1)
    assert fault.value.code is ErrorCode.FLOW_CONTROL_ERROR


def test_breaking_off_and_going_away() -> None:
    streams, outbox = made(Role.CLIENT)
    for _ in range(3):
        streams.open()
    fault = StreamFault(1, ErrorCode.STREAM_CLOSED, "x")
    assert (streams.break_off(fault), streams.break_off(fault)) == (True, False)
    assert outbox.take(0) == 2 * frames.reset_frame(1, ErrorCode.STREAM_CLOSED)

    assert (streams.refused_above(3), list(streams.by_id)) == ([5], [3])
