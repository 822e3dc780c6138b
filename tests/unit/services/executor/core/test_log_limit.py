"""Clipping of output."""

from services.executor.core.log_limit import LogLimits, StreamLimit


def test_size() -> None:
    limit = StreamLimit(LogLimits(size=10, speed=-1))

    assert limit.admit(b"12345678", 1) == b"12345678"
    assert limit.admit(b"abcdef", 1) == b"ab\n[output clipped, log limit 10B reached]\n"
    assert limit.admit(b"more", 1) == b""
    assert limit.tail() == b"abcdefmore"
    assert limit.tail() == b""


def test_speed_recovers() -> None:
    limit = StreamLimit(LogLimits(size=1 << 20, speed=1024))

    assert limit.admit(b"x" * 2000, 0.5).endswith(b"x\n[output clipped, log limit 1KiB/s reached]\n")
    assert limit.admit(b"y", 10) == b"y"
    assert limit.admit(b"z" * 20000, 10).endswith(b"reached]\n")


def test_no_limits() -> None:
    limit = StreamLimit(LogLimits(size=-1, speed=-1))

    assert limit.admit(b"x" * 10**7, 0) == b"x" * 10**7
    assert limit.tail() == b""


def test_the_tail_is_bounded() -> None:
    limit = StreamLimit(LogLimits(size=1, speed=-1))
    for number in range(100):
        limit.admit(bytes([number]) * 10_000, 1)
    tail = limit.tail()

    assert len(tail) == 256 << 10 and tail.endswith(bytes([99]) * 10_000)
    assert StreamLimit(LogLimits()).admit(b"", 0) == b""


def test_default_texts() -> None:
    slow = StreamLimit(LogLimits())
    assert b"log limit 200KiB/s reached" in slow.admit(b"x" * (1 << 20), 1)
    late = StreamLimit(LogLimits())
    assert b"log limit 2MiB reached" in late.admit(b"x" * (3 << 20), 100)
