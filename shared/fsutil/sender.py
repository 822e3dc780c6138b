"""The sending side: entries in, framed packets out; the receiver's requests in, files to read out (fsutil send.go, hardlinks.go)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shared.fsutil import mode as modes
from shared.fsutil import packets
from shared.fsutil.packets import Malformed, PacketType, Stat

PIECE = 256 * 1024
"""Bytes of a file per packet; receivers take messages of up to 4 MiB."""
_MAX_PACKET = 64 * 1024


class ReceiverError(Exception):
    """The receiver reported an error; the text is its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRequest:
    """Send file `number`, which is `path`: its pieces by `data_packet`, then an empty one."""

    number: int
    path: str


class Sender:
    """One transfer. Raises Malformed or ReceiverError from `feed`."""

    def __init__(self) -> None:
        self.finished = False
        """The receiver has everything; answer with `packets.FIN`, then half-close."""
        self._files: dict[int, str] = {}
        self._next = 0
        self._held = bytearray()

    def entries(self, stats: Iterable[Stat]) -> bytes:
        """Packets of the next entries, which must come in the protocol's order."""
        out: list[bytes] = []
        for stat in stats:
            if stat.mode & modes.SOCKET:
                stat = stat._replace(mode=stat.mode & ~modes.SOCKET)
            if modes.is_regular(stat.mode):
                self._files[self._next] = stat.path
            self._next += 1
            out.append(packets.stat_packet(stat))
        return b"".join(out)

    def end_of_entries(self) -> bytes:
        return packets.END_OF_STATS

    def feed(self, chunk: bytes) -> list[FileRequest]:
        """What the receiver asks for."""
        data = bytes(self._held + chunk)
        self._held.clear()
        requests: list[FileRequest] = []
        pos = 0
        while len(data) - pos >= 5:
            length = int.from_bytes(data[pos + 1 : pos + 5], "big")
            if length > _MAX_PACKET or data[pos]:
                raise Malformed(f"packet of {length} bytes from a receiver")
            if pos + 5 + length > len(data):
                break
            self._packet(packets.decode_packet(data, pos + 5, pos + 5 + length), requests)
            pos += 5 + length
        self._held += data[pos:]
        return requests

    def _packet(self, packet: packets.Packet, requests: list[FileRequest]) -> None:
        match packet.type:
            case PacketType.REQ:
                path = self._files.pop(packet.number, None)
                if path is None:
                    raise Malformed(f"invalid file id {packet.number}")
                requests.append(FileRequest(number=packet.number, path=path))
            case PacketType.FIN:
                self.finished = True
            case PacketType.ERR:
                raise ReceiverError(packet.data.decode("utf-8", "replace"))
            case _:
                raise Malformed(f"{packet.type.name} from a receiver")


def reset_hardlinks(stats: Iterable[Stat]) -> Iterator[Stat]:
    """After a filter: the first name of a file that is left becomes the file, later ones link to it."""
    names: dict[str, str] = {}
    for stat in stats:
        if not stat.mode & (modes.DIR | modes.SYMLINK):
            if stat.linkname:
                first = names.setdefault(stat.linkname, stat.path)
                stat = stat._replace(linkname="" if first == stat.path else first)
            else:
                names[stat.path] = stat.path
        yield stat
