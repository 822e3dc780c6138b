"""The receiving side: chunks of framed packets in, steps for a tree writer and packets to send out (fsutil receive.go, diff_containerd.go).

receiver = Receiver(existing)
steps = receiver.feed(chunk); stream.send(receiver.take())      # until receiver.complete
... once the writer has done all steps: stream.send(receiver.finish()); read on until receiver.finished and the end of the stream
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple, TypeAlias

from shared.fsutil import mode as modes
from shared.fsutil import packets
from shared.fsutil.order import Validator
from shared.fsutil.packets import Malformed, PacketType, Stat

METADATA_FILE: Final = ".fsutil-metadata"
_WHOLE: Final = 1 << 20
"""Files up to this size reach the writer as one step; larger ones in pieces."""
_MAX_PACKET: Final = 16 << 20


class MakeEntry(NamedTuple):
    """A directory (new, or one whose metadata changed), symlink or special file."""

    stat: Stat


class WriteFile(NamedTuple):
    """A whole file."""

    stat: Stat
    data: bytes


class BeginFile(NamedTuple):
    """A larger file follows in pieces under `number`."""

    stat: Stat
    number: int


class AppendFile(NamedTuple):
    number: int
    data: bytes


class EndFile(NamedTuple):
    number: int


class LinkFile(NamedTuple):
    """A hard link to `stat.linkname`, which exists by then."""

    stat: Stat


class Remove(NamedTuple):
    """Not in the source any more; a directory with all below it. May be gone already, and must not be sought through symlinks."""

    path: str


class TouchDirectory(NamedTuple):
    """Set the times of a directory again, after everything in it."""

    stat: Stat


Step: TypeAlias = MakeEntry | WriteFile | BeginFile | AppendFile | EndFile | LinkFile | Remove | TouchDirectory


class Differ(enum.Enum):
    """How to tell an entry that is there already (fsutil DiffType)."""

    METADATA = "metadata"
    NONE = "none"  # fetch everything


class SenderError(Exception):
    """The sender reported an error; the text is its own."""


class _Arriving:
    __slots__ = ("begun", "parts", "size", "stat")

    def __init__(self, stat: Stat) -> None:
        self.stat = stat
        self.parts: list[bytes] = []
        self.size = 0
        self.begun = False


class Receiver:
    """One transfer. Raises Malformed or SenderError from `feed`; what was given out before stays valid.

    `existing`: path → Stat of what the destination holds (with link names as the sender would give them), empty for a merge, which
    never removes. `metadata_only`: for these entries contents are not fetched (a directory of theirs comes when something below it does);
    all stats are kept in `metadata`. `rewrite`: changes a stat before anything else, such as its owner.
    """

    def __init__(
        self,
        existing: Mapping[str, Stat] | None = None,
        *,
        differ: Differ = Differ.METADATA,
        metadata_only: Callable[[Stat], bool] | None = None,
        rewrite: Callable[[Stat], Stat] | None = None,
    ) -> None:
        self.complete = False
        """All stats and all files that were asked for have come."""
        self.finished = False
        """The sender has answered FIN."""
        self.received = 0
        """Bytes of packets, as progress counts them."""
        self.metadata = bytearray()
        """With `metadata_only`: each Stat as uint32 little endian length and protobuf, the content of `.fsutil-metadata`."""
        self.changed: list[str] = []
        self.removed: list[str] = []
        self._left = dict(existing or {})
        self._differ = differ
        self._metadata_only = metadata_only
        self._rewrite = rewrite
        self._validator = Validator()
        self._parents: list[Stat] = []
        self._next = 0
        self._listed = False
        self._wanted: dict[int, _Arriving] = {}
        self._links: list[LinkFile] = []
        self._directories: list[Stat] = []
        self._out: list[bytes] = []
        self._held = bytearray()
        self._need = 5

    # -- bytes ------------------------------------------------------------------------------------------------------

    def take(self) -> bytes:
        """Framed packets to send now."""
        out = b"".join(self._out)
        self._out.clear()
        return out

    def finish(self) -> bytes:
        """The FIN packet: everything is written."""
        if not self.complete:
            raise AssertionError("finish before the transfer is complete")
        return packets.FIN

    def feed(self, chunk: bytes) -> list[Step]:
        """Steps to be done in this order."""
        if self._held or len(chunk) < self._need:
            self._held += chunk
            if len(self._held) < self._need:
                return []
            chunk = bytes(self._held)
            self._held.clear()
        steps: list[Step] = []
        pos = self._packets(chunk, steps)
        if pos < len(chunk):
            self._held += chunk[pos:]
        if self._listed and not self._wanted and not self.complete:
            self._conclude(steps)
        return steps

    def end(self) -> None:
        """The stream has ended. Raises Malformed unless that was in order."""
        if not self.finished:
            raise Malformed("transfer ended early")

    def _packets(self, chunk: bytes, steps: list[Step]) -> int:
        """The hot loop: STAT and DATA in the shape that fsutil writes are taken apart in place."""
        pos, end = 0, len(chunk)
        data, wanted = self._data, self._wanted
        while end - pos >= 5:
            start = pos + 5
            length = int.from_bytes(chunk[pos + 1 : start], "big")
            stop = start + length
            if stop > end:
                if length > _MAX_PACKET:
                    raise Malformed(f"packet of {length} bytes")
                self._need = stop - pos
                break
            if chunk[pos]:
                raise Malformed("compressed packet")
            self.received += length
            first = chunk[start] if length else -1
            if first == 0x08 and length > 1 and chunk[start + 1] == 0x02:
                number, at = (0, start + 2)
                if at < stop and chunk[at] == 0x18:
                    number, at = packets.read_varint(chunk, at + 1)
                if at == stop:
                    data(number, b"", steps)
                elif chunk[at] == 0x22:
                    size, at = packets.read_varint(chunk, at + 1)
                    if at + size != stop:
                        raise Malformed("field reaches beyond its message")
                    arriving = wanted.get(number)
                    if arriving is not None and arriving.size + size <= _WHOLE and size:
                        arriving.parts.append(chunk[at:stop])
                        arriving.size += size
                    else:
                        data(number, chunk[at:stop], steps)
                else:
                    self._packet(packets.decode_packet(chunk, start, stop), steps)
            elif first == 0x12:
                size, at = packets.read_varint(chunk, start + 1)
                if at + size == stop:
                    self._stat(packets.decode_stat(chunk, at, stop), steps)
                else:
                    self._packet(packets.decode_packet(chunk, start, stop), steps)
            else:
                self._packet(packets.decode_packet(chunk, start, stop), steps)
            pos = stop
        else:
            self._need = 5
        return pos

    def _packet(self, packet: packets.Packet, steps: list[Step]) -> None:
        match packet.type:
            case PacketType.STAT if packet.stat is None:
                self._end_of_list()
            case PacketType.STAT:
                assert packet.stat is not None
                self._stat(packet.stat, steps)
            case PacketType.DATA:
                self._data(packet.number, packet.data, steps)
            case PacketType.FIN:
                self.finished = True
            case PacketType.ERR:
                raise SenderError(packet.data.decode("utf-8", "replace"))
            case PacketType.REQ:
                raise Malformed("the sender asks for a file")

    # -- entries ----------------------------------------------------------------------------------------------------

    def _stat(self, stat: Stat, steps: list[Step]) -> None:
        if self._listed:
            raise Malformed("entry after the end of the list")
        if self._metadata_only is not None:
            if stat.path == METADATA_FILE:
                return  # as in receive.go, it isn't counted either
            encoded = packets.encode_stat(stat)
            self.metadata += len(encoded).to_bytes(4, "little") + encoded
        number = self._next
        self._next += 1
        self._validator.check(stat)
        if self._rewrite is not None:
            stat = self._rewrite(stat)
        if self._metadata_only is not None and not self._selected(stat, steps):
            return
        self._entry(stat, number, steps)

    def _selected(self, stat: Stat, steps: list[Step]) -> bool:
        """Whether the entry itself is wanted; if so its directories that were held back come before it."""
        assert self._metadata_only is not None
        parent = stat.path[: max(stat.path.rfind("/"), 0)]
        while self._parents and self._parents[-1].path != parent:
            self._parents.pop()
        if self._metadata_only(stat):
            if stat.mode & modes.DIR:
                self._parents.append(stat)
            return False
        for directory in self._parents:
            self._entry(directory, -1, steps)
        self._parents.clear()
        return True

    def _entry(self, stat: Stat, number: int, steps: list[Step]) -> None:
        path, mode = stat.path, stat.mode
        old = self._left.pop(path, None)
        if mode & modes.DIR:
            self._directories.append(stat)
        elif old is not None and old.mode & modes.DIR:
            self._forget_below(path)
        if old is not None and self._differ is Differ.METADATA and same(old, stat):
            return
        self.changed.append(path)
        if mode & modes.TYPE:
            modes.to_unix(mode)  # raises ValueError, which Malformed is, for an unknown type
            steps.append(MakeEntry(stat))
        elif stat.linkname:
            self._links.append(LinkFile(stat))
        else:
            self._wanted[number] = _Arriving(stat)
            self._out.append(packets.request_packet(number))

    def _forget_below(self, directory: str) -> None:
        """A directory is replaced by something else: what was in it goes with it, and must not be removed by name later."""
        below = directory + "/"
        for path in [p for p in self._left if p.startswith(below)]:
            del self._left[path]

    def _end_of_list(self) -> None:
        if self._listed:
            raise Malformed("second end of the list")
        self._listed = True

    def _data(self, number: int, data: bytes, steps: list[Step]) -> None:
        arriving = self._wanted.get(number)
        if arriving is None:
            raise Malformed(f"invalid file request {number}")
        if data:
            arriving.parts.append(data)
            arriving.size += len(data)
            if arriving.size > _WHOLE:
                self._flush(number, arriving, steps)
            return
        del self._wanted[number]
        if not arriving.begun:
            parts = arriving.parts
            steps.append(WriteFile(arriving.stat, parts[0] if len(parts) == 1 else b"".join(parts)))
            return
        self._flush(number, arriving, steps)
        steps.append(EndFile(number))

    def _flush(self, number: int, arriving: _Arriving, steps: list[Step]) -> None:
        if not arriving.begun:
            arriving.begun = True
            steps.append(BeginFile(arriving.stat, number))
        if arriving.parts:
            steps.append(AppendFile(number, b"".join(arriving.parts)))
        arriving.parts.clear()
        arriving.size = 0

    def _conclude(self, steps: list[Step]) -> None:
        """Hard links once their targets are written, removals, and last the times of directories, innermost first."""
        self.complete = True
        steps += self._links
        gone = ""
        for path in sorted(self._left, key=lambda p: p.replace("/", "\0")):
            if not gone or not path.startswith(gone):
                steps.append(Remove(path))
                self.removed.append(path)
                gone = path + "/"
        steps += [TouchDirectory(stat) for stat in reversed(self._directories)]


def same(old: Stat, new: Stat) -> bool:
    """Whether an entry need not be touched (diff_containerd.go sameFile): times and sizes of directories don't count."""
    if old[1:4] != new[1:4] or old.linkname != new.linkname:
        return False
    if (old.devmajor, old.devminor) != (new.devmajor, new.devminor):
        return False
    return bool(new.mode & modes.DIR) or (old.size == new.size and old.mtime == new.mtime)
