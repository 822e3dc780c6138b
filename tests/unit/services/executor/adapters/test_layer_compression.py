"""Compression round trips, is deterministic, and damage is found."""

import gzip
import random
from collections.abc import Iterator

import pytest

from services.executor.adapters.layer_compression import compressor, decompress
from shared.errors import InvalidInput, Unsupported
from shared.oci import Compression

_DATA = random.Random(1).randbytes(50_000) + b"abc" * 100_000


def _pack(kind: Compression, level: int = -1) -> bytes:
    c = compressor(kind, level)
    return b"".join([*(c.compress(_DATA[i : i + 40_000]) for i in range(0, len(_DATA), 40_000)), c.flush()])


def _pieces(data: bytes, size: int = 1000) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


@pytest.mark.parametrize(
    ("kind", "level"),
    [(Compression.GZIP, n) for n in range(-1, 10)] + [(Compression.ZSTD, n) for n in (-1, 0, 1, 3, 19)] + [(Compression.UNCOMPRESSED, -1)],
)
def test_round_trip(kind: Compression, level: int) -> None:
    """Every level gives the data back, and the same bytes each time."""
    packed = _pack(kind, level)

    assert packed == _pack(kind, level)
    assert _DATA == b"".join(decompress(_pieces(packed))) == b"".join(decompress(_pieces(packed, 3), kind))


def test_bad_levels() -> None:
    """Levels out of range and unknown kinds are named."""
    for kind, level in ((Compression.GZIP, 10), (Compression.ZSTD, 23), (Compression.GZIP, -2)):
        with pytest.raises(InvalidInput, match="compression level"):
            compressor(kind, level)
    with pytest.raises(Unsupported, match="estargz"):
        compressor(Compression.ESTARGZ)


def test_several_members() -> None:
    """Concatenated gzip members and zstd frames are one stream; zero padding after gzip is fine."""
    for kind in (Compression.GZIP, Compression.ZSTD):
        assert b"".join(decompress(_pieces(_pack(kind) * 2))) == _DATA * 2
    assert b"".join(decompress(iter([gzip.compress(b"x") + bytes(10)]))) == b"x"


@pytest.mark.parametrize("kind", [Compression.GZIP, Compression.ZSTD])
def test_damage(kind: Compression) -> None:
    """A flipped byte is an error."""
    packed = bytearray(_pack(kind))
    packed[len(packed) // 2] ^= 0xFF

    with pytest.raises(InvalidInput, match="damaged"):
        list(decompress(iter([bytes(packed)])))


def test_truncated_gzip() -> None:
    """An early end is an error."""
    for cut in (1, 8, 1000):
        with pytest.raises(InvalidInput, match="unexpected end"):
            list(decompress(_pieces(_pack(Compression.GZIP)[:-cut])))


def test_bombs_come_in_bounded_pieces() -> None:
    """However small the input, no piece of the output is larger than a few MiB."""
    bomb = gzip.compress(bytes(100 << 20))

    assert max(len(piece) for piece in decompress(iter([bomb]))) <= 4 << 20


def test_short_and_empty() -> None:
    """Nothing, and less than the magic, pass through."""
    assert list(decompress(iter([]))) == [b""]
    assert b"".join(decompress(iter([b"a", b"b"]))) == b"ab"
