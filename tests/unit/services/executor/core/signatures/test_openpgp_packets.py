"""Bytes that are no OpenPGP."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.executor.core.signatures.openpgp_packets import dearmored, packets, parse_key, parse_signature
from shared.errors import BuildFailed


def armored(data: bytes, kind: str = "PGP SIGNATURE") -> bytes:
    return f"-----BEGIN {kind}-----\nVersion: 1\n\n{base64.b64encode(data).decode()}\n=abcd\n-----END {kind}-----\n".encode()


def test_blocks_stand_in_any_text() -> None:
    text = b"hello\n" + armored(b"one") + b"\nbetween\n" + armored(b"two", "PGP PUBLIC KEY BLOCK")

    assert dearmored(text) == [("PGP SIGNATURE", b"one"), ("PGP PUBLIC KEY BLOCK", b"two")]
    assert dearmored(b"") == []


@pytest.mark.parametrize("bad", [armored(b"x").replace(b"eA==", b"e*"), b"x" * (2 << 20)])
def test_armor_that_is_none(bad: bytes) -> None:
    with pytest.raises(BuildFailed):
        dearmored(bad)


def test_both_forms_of_packets() -> None:
    assert list(packets(b"\xc2\x01a" + b"\xcd\xc0\x08" + b"b" * 200 + b"\x88\x02cc")) == [(2, b"a"), (13, b"b" * 200), (2, b"cc")]


@pytest.mark.parametrize("bad", [b"\x02", b"\xc2", b"\xc2\x05a", b"\xc2\xe1a", b"\x8b", b"\xc2\xff\x00\x00"])
def test_packets_that_are_none(bad: bytes) -> None:
    with pytest.raises(BuildFailed):
        list(packets(bad))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"\x03", "version 3"),
        (b"\x04\x00\x01\x01" + bytes(6), "weak/unknown hash: 1"),
        (b"\x04\x00\x11\x08" + bytes(6), "unsupported pubkey algorithm: 17"),
        (b"\x04\x00\x01\x08\x00\x03\x02\xff\x00" + bytes(4), "subpacket 127 is critical"),
        (b"\x04\x00\x01\x08\x00\x09\x00", "too short"),
    ],
)
def test_signatures_that_are_not_taken(body: bytes, said: str) -> None:
    with pytest.raises(BuildFailed, match=said):
        parse_signature(body)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (parse_signature, parse_key, lambda d: list(packets(d)), dearmored):
        try:
            read(data)
        except BuildFailed:
            continue
