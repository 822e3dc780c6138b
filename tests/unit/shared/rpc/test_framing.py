"""Messages out of chunks."""

from __future__ import annotations

import gzip
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import Exhausted, Internal, Unsupported
from shared.rpc.framing import MessageReader, frame, frame_all


def read(*chunks: bytes, encoding: str = "", limit: int = 1000) -> list[bytes]:
    reader = MessageReader(limit)
    reader.encoding = encoding
    out = []
    for chunk in chunks:
        reader.feed(chunk)
        while (message := reader.next()) is not None:
            out.append(message)
    assert not reader.partial
    return out


@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(0, 2500), max_size=8))
def test_any_split(messages: list[bytes], cuts: list[int]) -> None:
    data = frame_all(messages)
    borders = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    assert read(*(data[a:b] for a, b in itertools.pairwise(borders))) == messages


@given(st.lists(st.binary(max_size=50), min_size=1, max_size=5), st.integers(0, 4))
def test_rest_gives_back_what_was_not_read(messages: list[bytes], taken: int) -> None:
    """A reader can be left in the middle for raw chunks."""
    reader = MessageReader()
    reader.feed(frame_all(messages) + b"\0\0")
    for _ in range(taken):
        reader.next()
    assert reader.rest() == frame_all(messages[taken:]) + b"\0\0"
    assert not reader.partial


def test_too_large() -> None:
    with pytest.raises(Exhausted, match="larger than max"):
        read(b"\0\0\0\x03\xe9")


def test_gzip() -> None:
    packed = gzip.compress(b"hello")
    message = b"\x01" + len(packed).to_bytes(4, "big") + packed
    assert read(message, encoding="gzip") == [b"hello"]
    with pytest.raises(Unsupported):
        read(message)
    with pytest.raises(Internal):
        read(b"\x01\0\0\0\x01x", encoding="gzip")
    with pytest.raises(Internal):
        read(b"\x02\0\0\0\0")


def test_gzip_bomb() -> None:
    packed = gzip.compress(b"\0" * 100_000)
    with pytest.raises(Exhausted):
        read(b"\x01" + len(packed).to_bytes(4, "big") + packed, encoding="gzip")


def test_frame() -> None:
    assert frame(b"ab") == b"\0\0\0\0\x02ab"


def test_the_size_of_a_message_is_known_before_it_is_here() -> None:
    reader = MessageReader(1000)
    assert reader.announced() is None
    reader.feed(b"\0\0\0")
    assert reader.announced() is None
    reader.feed(b"\0\x07ab")

    assert (reader.announced(), reader.next()) == (7, None)
    reader.feed(b"cdefg\x01\0\0\0\x01")

    assert (reader.next(), reader.announced()) == (b"abcdefg", 1000), "what is compressed may grow to the limit"
