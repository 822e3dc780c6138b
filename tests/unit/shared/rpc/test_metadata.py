"""Header fields with a meaning of their own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.rpc import metadata
from shared.rpc.metadata import Metadata


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("1H", 3600), ("2M", 120), ("3S", 3), ("4m", 0.004), ("5u", 5e-6), ("6n", 6e-9), ("99999999S", 99999999)],
)
def test_timeout(text: str, seconds: float) -> None:
    assert metadata.parse_timeout(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "S", "1", "1x", "-1S", "123456789S", "1.5S", "１S"])
def test_malformed_timeout(text: str) -> None:
    assert metadata.parse_timeout(text) is None


@given(st.floats(1e-9, 1e9))
def test_timeout_there_and_back(seconds: float) -> None:
    """Within the precision that eight digits leave, and never longer."""
    back = metadata.parse_timeout(metadata.format_timeout(seconds))
    assert back is not None
    assert seconds * 0.9999 - 1e-9 <= back <= seconds * 1.0000001 + 1e-9


@given(st.text())
def test_percent_encoding(text: str) -> None:
    """Any text survives, and only printable ASCII travels."""
    raw = metadata.percent_encode(text)
    assert all(0x20 <= b <= 0x7E for b in raw)
    if text.isprintable():
        assert metadata.percent_decode(raw) == text


def test_broken_percent_escapes_stay() -> None:
    assert metadata.percent_decode(b"100% %zz %41 %4") == "100% %zz A %4"


@given(st.binary())
def test_binary(data: bytes) -> None:
    assert metadata.decode_binary(metadata.encode_binary(data)) == data


def test_headers_both_ways() -> None:
    """The protocol's own names never come through, custom ones in order."""
    fields = [(b":path", b"/x"), (b"te", b"trailers"), (b"grpc-timeout", b"1S"), (b"x-a", b"1"), (b"x-a", b"2"), (b"b-bin", b"AQI")]
    got = metadata.from_headers(fields)

    assert list(got) == [("x-a", "1"), ("x-a", "2"), ("b-bin", "AQI")]
    assert (got.get("x-a"), got.all("x-a"), got.get("y", "z")) == ("1", ["1", "2"], "z")
    assert (got.binary("b-bin"), got.binary("none"), Metadata([("c-bin", "!")]).binary("c-bin")) == (b"\x01\x02", None, None)
    assert metadata.to_headers([("X-A", "1"), ("te", "x"), ("grpc-status", "0"), (":path", "/")]) == [(b"x-a", b"1")]
    assert "secret" not in repr(Metadata([("x", "secret")]))
