"""Header blocks put together from frames, and what makes them faults of the connection."""

import hpack
import pytest

from shared.http2 import frames
from shared.http2.fault import ConnectionFault
from shared.http2.frames import ErrorCode
from shared.http2.header_block import HeaderBlock, without_padding
from shared.http2.limits import Limits

FIELDS = [(b":path", b"/x"), (b"a", b"\xff")]


def encoded(fields: list[tuple[bytes, bytes]] = FIELDS) -> bytes:
    return bytes(hpack.Encoder().encode(fields))


def test_one_frame() -> None:
    block = HeaderBlock(Limits())
    block.begin(frames.END_STREAM, 5, encoded())

    assert (block.under_way, block.stream_id, block.ends_stream) == (True, 5, True)
    assert (block.finish(), block.under_way) == (FIELDS, False)


def test_several_frames() -> None:
    block, data = HeaderBlock(Limits()), encoded()
    block.begin(0, 1, data[:2])
    for byte in data[2:]:
        block.add(bytes([byte]))

    assert block.finish() == FIELDS


def test_padding_and_priority_are_taken_off() -> None:
    block = HeaderBlock(Limits())
    block.begin(frames.PADDED | frames.HAS_PRIORITY, 1, b"\x03" + b"prio!" + encoded() + b"\0\0\0")

    assert block.finish() == FIELDS


def test_the_table_is_kept_over_blocks() -> None:
    """What is not wanted must be decoded all the same: the next block refers to it."""
    encoder, block = hpack.Encoder(), HeaderBlock(Limits())
    for _ in range(2):
        block.begin(0, 1, bytes(encoder.encode([(b"x-long", b"value")])))
        assert block.finish() == [(b"x-long", b"value")]


@pytest.mark.parametrize("body", [b"", b"\x01", b"\x05abcd"])
def test_padding_longer_than_its_frame(body: bytes) -> None:
    with pytest.raises(ConnectionFault) as fault:
        without_padding(body)

    assert fault.value.code is ErrorCode.PROTOCOL_ERROR


def test_padding_of_nothing() -> None:
    assert without_padding(b"\x00abc") == without_padding(b"\x02abc\0\0") == b"abc"


@pytest.mark.parametrize(
    ("limits", "parts", "code"),
    [
        (Limits(max_continuations=2), [b"", b"", b""], ErrorCode.ENHANCE_YOUR_CALM),
        (Limits(max_header_list=10), [b"x" * 11], ErrorCode.ENHANCE_YOUR_CALM),
    ],
    ids=["continuations", "size"],
)
def test_endless_blocks_are_cut_off(limits: Limits, parts: list[bytes], code: ErrorCode) -> None:
    block = HeaderBlock(limits)
    block.begin(0, 1, b"")
    with pytest.raises(ConnectionFault) as fault:
        for part in parts:
            block.add(part)

    assert fault.value.code is code


def test_a_small_block_that_grows_large() -> None:
    block = HeaderBlock(Limits(max_header_list=100))
    block.begin(0, 1, encoded([(b"a", b"x" * 80)]))
    with pytest.raises(ConnectionFault) as fault:
        block.finish()

    assert fault.value.code is ErrorCode.ENHANCE_YOUR_CALM


def test_bytes_that_are_no_hpack() -> None:
    block = HeaderBlock(Limits())
    block.begin(0, 1, b"\xff\xff\xff\xff\xff")
    with pytest.raises(ConnectionFault) as fault:
        block.finish()

    assert fault.value.code is ErrorCode.COMPRESSION_ERROR


def test_too_short_for_its_priority_and_a_continuation_of_nothing() -> None:
    with pytest.raises(ConnectionFault) as short:
        HeaderBlock(Limits()).begin(frames.HAS_PRIORITY, 1, b"abcd")
    with pytest.raises(ConnectionFault) as alone:
        HeaderBlock(Limits()).add(b"")

    assert (short.value.code, alone.value.code) == (ErrorCode.FRAME_SIZE_ERROR, ErrorCode.PROTOCOL_ERROR)
