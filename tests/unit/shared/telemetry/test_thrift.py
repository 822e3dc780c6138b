"""Thrift's two protocols, against bytes worked out by hand from their specifications."""

import pytest

from shared.telemetry.thrift import Fields, Kind, binary, compact_call

FIELDS: Fields = [(1, Kind.I32, 5), (2, Kind.STRING, "ab"), (20, Kind.I64, -3), (21, Kind.BOOL, True)]


def test_compact() -> None:
    message = compact_call("m", FIELDS)

    head = bytes([0x82, 0x81, 0x00, 1]) + b"m"
    small = bytes([0x15, 10]) + bytes([0x18, 2]) + b"ab"  # +1 i32 zigzag(5), +1 string
    far = bytes([0x06, 40, 5]) + bytes([0x11])  # i64 with its id written out: zigzag(20), zigzag(-3); +1 true
    assert message == head + small + far + b"\0"


def test_compact_lists_doubles_and_false() -> None:
    message = compact_call("", [(1, Kind.LIST, [[(1, Kind.I32, 0)]] * 2), (2, Kind.BOOL, False), (3, Kind.DOUBLE, 1.0)])

    assert message[4:] == bytes([0x19, 0x2C]) + bytes([0x15, 0, 0]) * 2 + bytes([0x12]) + bytes([0x17]) + b"\0" * 6 + b"\xf0\x3f" + b"\0"


def test_compact_long_lists_and_numbers() -> None:
    message = compact_call("", [(1, Kind.LIST, [[]] * 20), (2, Kind.I64, 1 << 40)])

    assert message[4:7] == bytes([0x19, 0xFC, 20])
    assert message[7:27] == b"\0" * 20
    assert message[27:] == bytes([0x16, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40]) + b"\0"


def test_binary() -> None:
    fields: Fields = [(1, Kind.STRUCT, FIELDS[:1]), (2, Kind.LIST, [[(3, Kind.BOOL, False)]]), (4, Kind.DOUBLE, 1.0), (5, Kind.I64, -1)]

    assert binary(fields) == (
        b"\x0c\0\1" + b"\x08\0\1\0\0\0\5\0" + b"\x0f\0\2" + b"\x0c\0\0\0\1" + b"\2\0\3\0\0"
        b"\x04\0\4\x3f\xf0" + b"\0" * 6 + b"\x0a\0\5" + b"\xff" * 8 + b"\0"
    )


@pytest.mark.parametrize("number", [0, 1, -1, 63, -64, 64, 2**31, -(2**31), 2**62])
def test_numbers_come_back(number: int) -> None:
    data = compact_call("", [(1, Kind.I64, number)])[5:-1]
    value = shift = 0
    for byte in data:
        value |= (byte & 0x7F) << shift
        shift += 7

    assert (value >> 1) ^ -(value & 1) == number
