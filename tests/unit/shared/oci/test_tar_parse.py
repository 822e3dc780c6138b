"""The tar reader agrees with other writers, in pieces of any size, and refuses what is damaged."""

import io
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.oci.tar_header import encode_header
from shared.oci.tar_parse import Member, TarError, TarReader


def _archive(format: int, names: list[str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as tar:
        for i, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size, info.uid, info.gid, info.mode, info.mtime = i * 300, 5_000_000, 7, 0o640, 1_700_000_000
            info.uid = 5_000_000 if format != tarfile.USTAR_FORMAT else 5
            tar.addfile(info, io.BytesIO(bytes([i]) * i * 300))
    return out.getvalue()


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


def _all(data: bytes, size: int = 1 << 16) -> list[tuple[Member, bytes]]:
    reader = TarReader(_pieces(data, size))
    out = []
    for member in reader:
        content = b""
        while piece := reader.read():
            content += piece
        out.append((member, content))
    return out


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("size", [1, 7, 512, 100_000])
def test_other_writers(format: int, size: int) -> None:
    """Python's writer in its three formats: names, numbers and data arrive whatever the pieces."""
    names = ["a", "d/" + "n" * 90, "d" * 100 + "/" + "e" * 90]
    found = _all(_archive(format, names), size)

    assert names == [m.name.decode() for m, _ in found]
    assert [bytes([i]) * i * 300 for i in range(3)] == [c for _, c in found]
    assert {(0o640, 7, 1_700_000_000 * 10**9)} == {(m.mode, m.gid, m.mtime) for m, _ in found}


def test_unread_data_is_skipped() -> None:
    """Whoever only wants names need not read."""
    assert [m.name for m in TarReader(_pieces(_archive(tarfile.PAX_FORMAT, ["a", "b", "c"]), 100))] == [b"a", b"b", b"c"]


@given(name=st.text(min_size=1, max_size=300).filter(lambda n: "\0" not in n and n.isprintable()), value=st.binary(max_size=50))
def test_what_we_write_we_read(name: str, value: bytes) -> None:
    """Names and extended attributes survive, however long and whatever bytes."""
    raw = name.encode()
    data = encode_header(name=raw, mode=0o755, records={b"SCHILY.xattr.user.x": value} if value else {}) + bytes(1024)
    ((member, _),) = _all(data)

    assert raw == member.name
    assert ({b"user.x": value} if value else {}) == member.xattrs


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"x" * 512, "invalid number"),
        (bytes([1]) + bytes(511), "checksum"),
        (encode_header(name=b"a", size=5), "unexpected end"),
        (encode_header(name=b"a", size=5) + b"123", "unexpected end"),
        (encode_header(name=b"a")[:300], "unexpected end"),
        (encode_header(name=b"p", typeflag=b"x", size=5) + b"9 a=b".ljust(512, b"\0") + bytes(1024), "malformed PAX"),
        (encode_header(name=b"p", typeflag=b"x", size=6) + b"6 a=b\n".ljust(512, b"\0"), ""),
        (encode_header(name=b"p", typeflag=b"L", size=5 << 20), "extended header of"),
        (encode_header(name=b"s", typeflag=b"S") + bytes(1024), "sparse"),
    ],
)
def test_damage(data: bytes, message: str) -> None:
    """A damaged archive is named as such, never read past."""
    if message:
        with pytest.raises(TarError, match=message):
            _all(data)
    else:
        assert _all(data) == []


def test_trailing_bytes_are_drained() -> None:
    """The source is read to its end, so that digests are complete."""
    seen = []

    def source() -> Iterator[bytes]:
        for piece in (bytes(1024), b"more", b"and more"):
            seen.append(piece)
            yield piece

    assert list(TarReader(source())) == []
    assert len(seen) == 3
