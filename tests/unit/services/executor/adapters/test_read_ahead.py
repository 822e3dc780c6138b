"""Reading ahead changes nothing but the time it takes."""

import threading
from collections.abc import Iterator

import pytest

from services.executor.adapters.read_ahead import ReadAhead
from shared.model import sha256_digest


def test_bytes_and_digest() -> None:
    """All pieces in order, and the digest of them all once the end was met."""
    pieces = [bytes([i]) * i for i in range(100)]
    with ReadAhead(iter(pieces)) as stream:
        with pytest.raises(AssertionError, match="not been read"):
            _ = stream.digest
        assert [p for p in pieces if p] == list(stream)
        assert list(stream) == []
    assert sha256_digest(b"".join(pieces)) == stream.digest


def test_an_error_comes_in_its_place() -> None:
    """What came before it is delivered first, and the digest of half a stream is refused."""

    def source() -> Iterator[bytes]:
        yield b"a"
        raise OSError("disk")

    with ReadAhead(source()) as stream:
        assert next(stream) == b"a"
        with pytest.raises(OSError, match="disk"):
            next(stream)
        with pytest.raises(AssertionError):
            _ = stream.digest


def test_leaving_early_stops_the_thread() -> None:
    """However much is left in an endless source."""

    def source() -> Iterator[bytes]:
        while True:
            yield b"x" * 1000

    before = threading.active_count()
    with ReadAhead(source()) as stream:
        next(stream)
    assert before == threading.active_count()
