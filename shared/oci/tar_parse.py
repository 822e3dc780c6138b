"""Reading tar: one pass over chunks of bytes, a tuple per member, no objects per block (POSIX ustar and PAX, GNU long names, old V7).

The reader pulls chunks from an iterator; member data is handed on as views of those chunks.
"""

from collections.abc import Iterator
from typing import NamedTuple

from shared.oci.tar_header import BLOCK, DIRECTORY, GNU_LONG_LINK, GNU_LONG_NAME, GNU_SPARSE, PAX, PAX_GLOBAL, REGULAR

_ZERO = bytes(BLOCK)
_MAX_SPECIAL = 1 << 20  # Go's archive/tar allows as much for PAX headers and long names
_XATTR = b"SCHILY.xattr."


class TarError(ValueError):
    """The bytes are no tar archive, or one that this reader refuses; the message says where and why."""


class Member(NamedTuple):
    """One entry. Names are raw bytes as found (not cleaned, not to be trusted); `mtime` in nanoseconds; `size` of its data in bytes."""

    name: bytes
    typeflag: bytes
    mode: int
    uid: int
    gid: int
    size: int
    mtime: int
    linkname: bytes
    major: int
    minor: int
    xattrs: dict[bytes, bytes]


_NO_XATTRS: dict[bytes, bytes] = {}


class TarReader:
    """Iterate over members; between two members their data may be read with `read` or `chunks`, what is left is skipped.

    Raises TarError. The source is read to its end, so that a digest taken over it is complete.
    """

    def __init__(self, source: Iterator[bytes]) -> None:
        self._source = source
        self._chunk = memoryview(b"")
        self._at = 0
        self._data = 0  # bytes of member data not read yet
        self._pad = 0
        self.offset = 0

    def __iter__(self) -> Iterator[Member]:
        return self

    def __next__(self) -> Member:
        pax: dict[bytes, bytes] = {}
        long_name = long_link = b""
        while True:
            self._skip(self._data + self._pad)
            self._data = self._pad = 0
            block = self._block()
            if block is None:
                self._drain()
                raise StopIteration
            member = _parse(block, self.offset)
            flag = member.typeflag
            if flag in (PAX, PAX_GLOBAL, GNU_LONG_NAME, GNU_LONG_LINK):
                data = self._special(member.size)
                if flag == PAX:
                    pax = _parse_pax(data, self.offset)
                elif flag == GNU_LONG_NAME:
                    long_name = data.rstrip(b"\0")
                elif flag == GNU_LONG_LINK:
                    long_link = data.rstrip(b"\0")
                continue
            if long_name or long_link:
                member = member._replace(name=long_name or member.name, linkname=long_link or member.linkname)
            if pax:
                member = _with_pax(member, pax)
            if flag == GNU_SPARSE:
                raise TarError(f"tar: sparse member {member.name[:200]!r} is not supported")
            if flag == REGULAR and member.name.endswith(b"/"):
                member = member._replace(typeflag=DIRECTORY)
            if member.typeflag != REGULAR and flag not in b"7":
                member = member._replace(size=0)
            self._data = member.size
            self._pad = -member.size % BLOCK
            return member

    def read(self, limit: int = 1 << 20) -> memoryview:
        """The next piece of the member's data, as large as is at hand; empty at its end. The view is good until the next call."""
        if self._data == 0:
            return memoryview(b"")
        if self._at == len(self._chunk):
            self._next_chunk()
        piece = self._chunk[self._at : self._at + min(self._data, limit)]
        self._at += len(piece)
        self._data -= len(piece)
        self.offset += len(piece)
        return piece

    def _next_chunk(self) -> None:
        for chunk in self._source:
            if chunk:
                self._chunk = memoryview(chunk)
                self._at = 0
                return
        raise TarError(f"tar: unexpected end at byte {self.offset}")

    def _block(self) -> bytes | None:
        """The next header block, None at the end of the archive (a zero block, or a clean end of the input)."""
        at = self._at
        if len(self._chunk) - at >= BLOCK:
            block = bytes(self._chunk[at : at + BLOCK])
            self._at = at + BLOCK
        else:
            block = self._gather(BLOCK, end_ok=True)
            if not block:
                return None
        self.offset += BLOCK
        return None if block == _ZERO else block

    def _gather(self, size: int, *, end_ok: bool = False) -> bytes:
        parts: list[memoryview] = []
        missing = size
        while missing:
            if self._at == len(self._chunk):
                try:
                    self._next_chunk()
                except TarError:
                    if end_ok and missing == size:
                        return b""
                    raise
            piece = self._chunk[self._at : self._at + missing]
            self._at += len(piece)
            missing -= len(piece)
            parts.append(piece)
        return b"".join(parts)

    def _special(self, size: int) -> bytes:
        if size > _MAX_SPECIAL:
            raise TarError(f"tar: extended header of {size} bytes at byte {self.offset}")
        data = self._gather(size)
        self._skip(-size % BLOCK)
        self.offset += size
        return data

    def _skip(self, size: int) -> None:
        self.offset += size
        while size:
            if self._at == len(self._chunk):
                self._next_chunk()
            step = min(size, len(self._chunk) - self._at)
            self._at += step
            size -= step

    def _drain(self) -> None:
        for _ in self._source:
            pass


def _parse(block: bytes, offset: int) -> Member:
    stored = _number(block[148:156], offset)
    if stored != sum(block) - sum(block[148:156]) + 256:
        raise TarError(f"tar: invalid header checksum at byte {offset - BLOCK}")
    name = block[:100].split(b"\0", 1)[0]
    flag = block[156:157]
    if block[257:263] == b"ustar\0":
        prefix = block[345:500].split(b"\0", 1)[0]
        if prefix:
            name = prefix + b"/" + name
    size = _number(block[124:136], offset)
    if size < 0:
        raise TarError(f"tar: negative size at byte {offset - BLOCK}")
    device = block[257:262] == b"ustar" and flag in b"34"
    return Member(
        name,
        REGULAR if flag == b"\0" else flag,
        _number(block[100:108], offset) & 0o7777,
        _number(block[108:116], offset),
        _number(block[116:124], offset),
        size,
        _number(block[136:148], offset) * 1_000_000_000,
        block[157:257].split(b"\0", 1)[0],
        _number(block[329:337], offset) if device else 0,
        _number(block[337:345], offset) if device else 0,
        _NO_XATTRS,
    )


def _number(field: bytes, offset: int) -> int:
    """Octal text, or GNU's base-256 when the top bit is set."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] & 0x40:  # negative, two's complement
            value -= 1 << (8 * len(field) - 1)
        return value
    text = field.strip(b" \0")
    try:
        return int(text.split(b"\0", 1)[0], 8) if text else 0
    except ValueError:
        raise TarError(f"tar: invalid number {field!r} in the header at byte {offset - BLOCK}") from None


def _parse_pax(data: bytes, offset: int) -> dict[bytes, bytes]:
    records: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        space = data.find(b" ", at, at + 20)
        length = data[at:space]
        end = at + int(length) if space > 0 and length.isdigit() else 0
        equals = data.find(b"=", space, end)
        if not (space < equals < end <= len(data)) or data[end - 1 : end] != b"\n":
            raise TarError(f"tar: malformed PAX header before byte {offset}")
        records[data[space + 1 : equals]] = data[equals + 1 : end - 1]
        at = end
    return records


def _with_pax(member: Member, pax: dict[bytes, bytes]) -> Member:
    changes: dict[str, object] = {}
    for key, value in pax.items():
        if key.startswith(_XATTR):
            changes.setdefault("xattrs", {})[key[len(_XATTR) :]] = value  # type: ignore[index]
        elif key == b"path":
            changes["name"] = value or member.name
        elif key == b"linkpath":
            changes["linkname"] = value or member.linkname
        elif key in (b"uid", b"gid", b"size"):
            changes[key.decode()] = _pax_int(key, value)
        elif key == b"mtime":
            changes["mtime"] = _pax_time(value)
        elif key.startswith(b"GNU.sparse."):
            raise TarError(f"tar: sparse member {member.name[:200]!r} is not supported")
    if b"\0" in changes.get("name", b"") or b"\0" in changes.get("linkname", b""):  # type: ignore[operator]
        raise TarError(f"tar: NUL in the name of {member.name[:200]!r}")
    return member._replace(**changes)  # type: ignore[arg-type]


def _pax_int(key: bytes, value: bytes) -> int:
    if not value.isdigit() or len(value) > 19:
        raise TarError(f"tar: invalid PAX {key.decode()} {value[:40]!r}")
    return int(value)


def _pax_time(value: bytes) -> int:
    """Decimal seconds with a fraction, to nanoseconds; truncated towards minus infinity as far as the fraction goes."""
    whole, _, fraction = value.partition(b".")
    digits = whole.removeprefix(b"-")
    if not digits.isdigit() or len(digits) > 18 or (fraction and not fraction.isdigit()):
        raise TarError(f"tar: invalid PAX mtime {value[:40]!r}")
    ns = int(digits) * 1_000_000_000 + int(fraction[:9].ljust(9, b"0") or b"0")
    return -ns if whole.startswith(b"-") else ns
