"""Receiver and sender as machines: conversations without a disk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.fsutil import mode as modes
from shared.fsutil import packets
from shared.fsutil.packets import Malformed, Stat
from shared.fsutil.receiver import (
    AppendFile,
    BeginFile,
    Differ,
    EndFile,
    LinkFile,
    MakeEntry,
    Receiver,
    Remove,
    SenderError,
    Step,
    TouchDirectory,
    WriteFile,
)
from shared.fsutil.sender import FileRequest, ReceiverError, Sender, reset_hardlinks

D = Stat("d", modes.DIR | 0o755, mtime=5)
F = Stat("d/f", 0o644, size=3, mtime=7)
G = Stat("g", 0o644, size=3, mtime=7)


def heard(receiver: Receiver, *framed: bytes) -> list[Step]:
    return receiver.feed(b"".join(framed))


def listed(*stats: Stat) -> bytes:
    return b"".join(map(packets.stat_packet, stats)) + packets.END_OF_STATS


class TestReceiver:
    def test_new_tree(self) -> None:
        """Entries are made at once, files when they have come, times of directories last."""
        receiver = Receiver()

        assert heard(receiver, listed(D, F)) == [MakeEntry(D)]
        assert receiver.take() == packets.request_packet(1)
        assert not receiver.complete
        assert heard(receiver, packets.data_packet(1, b"ab"), packets.data_packet(1, b"c"), packets.data_packet(1, b"")) == [
            WriteFile(F, b"abc"),
            TouchDirectory(D),
        ]
        assert receiver.complete
        assert receiver.finish() == packets.FIN
        heard(receiver, packets.FIN)
        receiver.end()
        assert receiver.changed == ["d", "d/f"]

    def test_unchanged_tree_asks_for_nothing(self) -> None:
        receiver = Receiver({"d": D, "d/f": F})
        assert heard(receiver, listed(D, F)) == [TouchDirectory(D)]
        assert (receiver.take(), receiver.changed) == (b"", [])

    def test_differ_none_asks_for_everything(self) -> None:
        receiver = Receiver({"g": G}, differ=Differ.NONE)
        heard(receiver, listed(G))
        assert receiver.take() == packets.request_packet(0)

    @pytest.mark.parametrize("change", [{"mode": 0o600}, {"uid": 1}, {"gid": 1}, {"size": 4}, {"mtime": 8}, {"devminor": 1}])
    def test_what_makes_a_file_different(self, change: dict[str, int]) -> None:
        receiver = Receiver({"g": G._replace(**change)})  # type: ignore[arg-type]
        heard(receiver, listed(G))
        assert receiver.take() == packets.request_packet(0)

    def test_times_and_sizes_of_directories_do_not_count(self) -> None:
        receiver = Receiver({"d": D._replace(mtime=99, size=4096)})
        assert heard(receiver, listed(D)) == [TouchDirectory(D)]

    def test_removed(self) -> None:
        """Only the topmost path is removed; one whose directory became a file is not touched by name."""
        inner = Stat("d/e/x", 0o644)
        receiver = Receiver({"d": D, "d/e": D._replace(path="d/e"), "d/e/x": inner, "g": G})
        assert heard(receiver, listed(G)) == [Remove("d")]
        assert receiver.removed == ["d"]

        receiver = Receiver({"d": D, "d/f": F})
        steps = heard(receiver, listed(Stat("d", modes.SYMLINK | 0o777, linkname="/etc")))
        assert [type(step) for step in steps] == [MakeEntry]

    def test_hard_links_wait_for_their_file(self) -> None:
        link = Stat("h", 0o644, linkname="g", size=3)
        receiver = Receiver()
        assert heard(receiver, listed(G, link)) == []
        assert receiver.take() == packets.request_packet(0)
        assert heard(receiver, packets.data_packet(0, b"")) == [WriteFile(G, b""), LinkFile(link)]

    def test_large_file_in_pieces(self) -> None:
        """What is kept in memory is bounded."""
        receiver = Receiver()
        heard(receiver, listed(G))
        steps: list[Step] = []
        for _ in range(40):
            steps += heard(receiver, packets.data_packet(0, b"x" * 100_000))
        steps += heard(receiver, packets.data_packet(0, b""))

        assert steps[0] == BeginFile(G, 0)
        assert steps[-1] == EndFile(0)
        pieces = [step.data for step in steps if isinstance(step, AppendFile)]
        assert b"".join(pieces) == b"x" * 4_000_000
        assert max(map(len, pieces)) < 1_200_000

    def test_metadata_only(self) -> None:
        """Stats of everything are kept, contents come only for what is not held back, its directories just before."""
        receiver = Receiver(metadata_only=lambda stat: stat.path != "d/f")
        steps = heard(receiver, listed(Stat(".fsutil-metadata", 0o644), Stat("a", 0o644), D, F))
        assert steps == [MakeEntry(D)]
        assert receiver.take() == packets.request_packet(2)
        sizes = [len(packets.encode_stat(stat)) for stat in (Stat("a", 0o644), D, F)]
        assert len(receiver.metadata) == sum(sizes) + 12

    def test_rewrite(self) -> None:
        receiver = Receiver({"g": G._replace(uid=7)}, rewrite=lambda stat: stat._replace(uid=7))
        heard(receiver, listed(G))
        assert receiver.take() == b""

    def test_error_of_the_sender(self) -> None:
        with pytest.raises(SenderError, match="no disk"):
            heard(Receiver(), packets.error_packet("no disk"))

    @pytest.mark.parametrize(
        "framed",
        [
            packets.data_packet(0, b"x"),
            packets.data_packet(7, b""),
            packets.request_packet(1),
            packets.END_OF_STATS * 2,
            packets.END_OF_STATS + packets.stat_packet(G),
            packets.stat_packet(G) * 2,
            packets.stat_packet(Stat("../x", 0o644)),
            packets.stat_packet(Stat("x", modes.DIR | modes.SYMLINK)) + packets.END_OF_STATS,
            b"\x01\0\0\0\0",
            b"\0\xff\xff\xff\xff",
        ],
    )
    def test_broken_protocol(self, framed: bytes) -> None:
        with pytest.raises(ValueError):
            Receiver().feed(framed)

    def test_early_end(self) -> None:
        with pytest.raises(Malformed):
            Receiver().end()


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_are_malformed_at_worst(chunks: list[bytes]) -> None:
    receiver = Receiver()
    try:
        for chunk in chunks:
            receiver.feed(chunk)
    except (ValueError, SenderError):
        pass


NAMES = st.sampled_from(["a", "a-", "b", "c.txt", "é"])
TREES = st.recursive(st.binary(max_size=50), lambda children: st.dictionaries(NAMES, children, max_size=4), max_leaves=12).filter(
    lambda tree: isinstance(tree, dict)
)


def flat(tree: dict[str, object], prefix: str = "") -> list[tuple[Stat, bytes]]:
    out = []
    for name in sorted(tree, key=lambda n: n.encode()):
        node = tree[name]
        if isinstance(node, dict):
            out.append((Stat(prefix + name, modes.DIR | 0o755), b""))
            out += flat(node, f"{prefix}{name}/")
        else:
            assert isinstance(node, bytes)
            out.append((Stat(prefix + name, 0o644, size=len(node)), node))
    return out


@given(TREES, TREES, st.integers(1, 50))
def test_sender_to_receiver(source: dict[str, object], before: dict[str, object], cut: int) -> None:
    """Any tree over any other arrives, whatever the chunks are."""
    entries, old = flat(source), flat(before)
    contents = {stat.path: data for stat, data in entries}
    sender, receiver = Sender(), Receiver({stat.path: stat for stat, _ in old}, differ=Differ.NONE)
    there = {stat.path: data for stat, data in old}
    stream = sender.entries(stat for stat, _ in entries) + sender.end_of_entries()
    while True:
        steps = [step for at in range(0, len(stream), cut) for step in receiver.feed(stream[at : at + cut])]
        for step in steps:
            match step:
                case WriteFile(stat, data):
                    there[stat.path] = data
                case MakeEntry(stat):
                    there[stat.path] = b""
                case Remove(path):
                    there = {p: d for p, d in there.items() if p != path and not p.startswith(path + "/")}
        if receiver.complete:
            break
        stream = b"".join(
            (packets.data_packet(r.number, contents[r.path]) if contents[r.path] else b"") + packets.data_packet(r.number, b"")
            for r in sender.feed(receiver.take())
            if isinstance(r, FileRequest)
        )
    files = {stat.path for stat, _ in entries if modes.is_regular(stat.mode)}
    gone = {p for p in there if any(p.startswith(f + "/") for f in files)}

    assert {p: d for p, d in there.items() if p not in gone} == contents
    assert sender.feed(receiver.finish()) == []
    assert sender.finished


class TestSender:
    def test_each_file_once(self) -> None:
        sender = Sender()
        sender.entries([D, F])
        assert sender.feed(packets.request_packet(1)) == [FileRequest(number=1, path="d/f")]
        for number in (0, 1, 2):
            with pytest.raises(Malformed, match="invalid file id"):
                sender.feed(packets.request_packet(number))

    def test_sockets_become_plain_files(self) -> None:
        sent = Sender().entries([Stat("s", modes.SOCKET | 0o600)])
        assert packets.decode_packet(sent, 5, len(sent)).stat == Stat("s", 0o600)

    def test_error_of_the_receiver(self) -> None:
        with pytest.raises(ReceiverError, match="full"):
            Sender().feed(packets.error_packet("full"))

    def test_hard_links_after_a_filter(self) -> None:
        """The first name that is left becomes the file."""
        links = [Stat("b", linkname="a"), Stat("c", linkname="a"), Stat("e"), Stat("f", linkname="e")]
        assert list(reset_hardlinks(links)) == [Stat("b"), Stat("c", linkname="b"), Stat("e"), Stat("f", linkname="e")]
