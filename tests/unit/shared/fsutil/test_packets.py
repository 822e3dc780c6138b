"""Our coding of packets against protobuf's own, and against bytes of any kind."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fsutil import packets
from shared.fsutil.packets import Malformed, PacketType, Stat
from shared.pb import fsutil_stat_pb2, fsutil_wire_pb2

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
STATS = st.builds(
    Stat,
    path=TEXT,
    mode=st.integers(0, 2**32 - 1),
    uid=st.integers(0, 2**32 - 1),
    gid=st.integers(0, 2**32 - 1),
    size=st.integers(0, 2**63 - 1),
    mtime=st.integers(-(2**63), 2**63 - 1),
    linkname=TEXT,
    devmajor=st.integers(0, 4095),
    devminor=st.integers(0, 2**20),
    xattrs=st.dictionaries(TEXT, st.binary(max_size=30), max_size=3),
)


def body(framed: bytes) -> bytes:
    assert framed[0] == 0
    assert int.from_bytes(framed[1:5], "big") == len(framed) - 5
    return framed[5:]


def reference(stat: Stat) -> fsutil_stat_pb2.Stat:
    return fsutil_stat_pb2.Stat(
        path=stat.path,
        mode=stat.mode,
        uid=stat.uid,
        gid=stat.gid,
        size=stat.size,
        modTime=stat.mtime,
        linkname=stat.linkname,
        devmajor=stat.devmajor,
        devminor=stat.devminor,
        xattrs=dict(stat.xattrs),
    )


@given(STATS)
def test_stat_as_protobuf_has_it(stat: Stat) -> None:
    """Written by us, read by protobuf, and the reverse."""
    assert fsutil_stat_pb2.Stat.FromString(packets.encode_stat(stat)) == reference(stat)

    data = reference(stat).SerializeToString()
    assert packets.decode_stat(data, 0, len(data)) == stat


@given(STATS)
def test_stat_packet(stat: Stat) -> None:
    message = fsutil_wire_pb2.Packet.FromString(body(packets.stat_packet(stat)))
    assert message.type == PacketType.STAT
    assert message.stat == reference(stat)


@given(st.integers(0, 2**32 - 1), st.binary(max_size=300))
def test_other_packets(number: int, data: bytes) -> None:
    """REQ, DATA, FIN and ERR, both ways."""
    for framed, kind, number_, data_ in (
        (packets.request_packet(number), PacketType.REQ, number, b""),
        (packets.data_packet(number, data), PacketType.DATA, number, data),
        (packets.FIN, PacketType.FIN, 0, b""),
        (packets.error_packet("text"), PacketType.ERR, 0, b"text"),
    ):
        message = fsutil_wire_pb2.Packet.FromString(body(framed))
        assert (message.type, message.ID, message.data) == (kind, number_, data_)
        again = packets.decode_packet(message.SerializeToString(), 0, len(body(framed)))
        assert again == packets.Packet(kind, None, number_, data_)


def test_end_of_list_is_a_stat_without_stat() -> None:
    assert packets.decode_packet(b"", 0, 0) == packets.Packet(PacketType.STAT, None, 0, b"")
    assert body(packets.END_OF_STATS) == b""


@given(st.binary(max_size=80))
def test_any_bytes_decode_or_are_malformed(data: bytes) -> None:
    for decode in (packets.decode_packet, packets.decode_stat):
        try:
            decode(data, 0, len(data))
        except Malformed:
            continue


@pytest.mark.parametrize("data", [b"\x08\x09", b"\x12\x05a", b"\x22\xff", b"\x08", b"\x0b"])
def test_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        packets.decode_packet(data, 0, len(data))


def test_names_that_are_not_utf8() -> None:
    """Any bytes but NUL pass through."""
    stat = Stat("a\udcff")
    data = packets.encode_stat(stat)
    assert b"a\xff" in data
    assert packets.decode_stat(data, 0, len(data)) == stat
