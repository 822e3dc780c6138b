"""Floods are cut off, honest traffic never is."""

import pytest

from shared.http2 import frames
from shared.http2.fault import ConnectionFault
from shared.http2.frames import ErrorCode
from shared.http2.guard import FloodGuard
from shared.http2.inbound import InboundWindow
from shared.http2.limits import Limits
from shared.http2.outbox import Outbox


def test_idle_frames_count_until_something_useful_comes() -> None:
    guard = FloodGuard(Limits(max_idle_frames=2))
    for _ in range(5):
        guard.idle_frame("PING")
        guard.idle_frame("PING")
        guard.useful()
    guard.idle_frame("PING")
    guard.idle_frame("SETTINGS")

    with pytest.raises(ConnectionFault, match="too many PING frames") as fault:
        guard.idle_frame("PING")
    assert fault.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_abandoned_streams_are_made_up_for_by_finished_ones() -> None:
    guard = FloodGuard(Limits(max_abandoned=2))
    for _ in range(10):
        guard.stream_abandoned()
        guard.stream_finished()
    guard.stream_finished()  # never a credit for later
    guard.stream_abandoned()
    guard.stream_abandoned()

    with pytest.raises(ConnectionFault, match="opened and reset"):
        guard.stream_abandoned()


def test_time_heals() -> None:
    guard = FloodGuard(Limits(max_abandoned=1, max_idle_frames=1))
    for _ in range(5):
        guard.stream_abandoned()
        guard.idle_frame("PING")
        guard.relax()


def window(limits: Limits) -> tuple[InboundWindow, Outbox]:
    outbox = Outbox(lambda stream: None)
    return InboundWindow(limits, outbox), outbox


def test_the_window_opens_again_by_quarters() -> None:
    inbound, outbox = window(Limits(connection_window=100))
    inbound.received(24)
    inbound.give_back()
    assert (outbox.take(0), inbound.window) == (b"", 76)

    inbound.received(1)
    inbound.give_back()
    assert (outbox.take(0), inbound.window) == (frames.window_update_frame(0, 25), 100)


def test_more_than_was_allowed_is_a_fault() -> None:
    inbound, _ = window(Limits(connection_window=100))
    inbound.received(100)

    with pytest.raises(ConnectionFault) as fault:
        inbound.received(1)
    assert fault.value.code is ErrorCode.FLOW_CONTROL_ERROR


def test_the_window_stays_shut_while_too_much_lies_unread() -> None:
    inbound, outbox = window(Limits(connection_window=100, max_unread=50))
    inbound.received(60)
    inbound.unread += 60
    inbound.give_back()
    assert outbox.take(0) == b""

    inbound.taken(10)
    assert outbox.take(0) == frames.window_update_frame(0, 60)
