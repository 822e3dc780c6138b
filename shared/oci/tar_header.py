"""Tar headers, byte for byte as Go's archive/tar writes them in PAX format (ustar where that is enough): equal layers, equal digests.

Numbers are zero-padded octal with a final NUL; what ustar can't hold goes into a PAX header named `<dir>/PaxHeaders.0/<base>`.
"""

import posixpath
from collections.abc import Mapping

BLOCK = 512
END = bytes(2 * BLOCK)

REGULAR, HARDLINK, SYMLINK, CHAR, BLOCK_DEVICE, DIRECTORY, FIFO = b"0", b"1", b"2", b"3", b"4", b"5", b"6"
PAX, PAX_GLOBAL, GNU_LONG_NAME, GNU_LONG_LINK, GNU_SPARSE = b"x", b"g", b"L", b"K", b"S"

_MAX8, _MAX12 = 8**7, 8**11
_TAIL = bytes(12)
_NO_RECORDS: Mapping[bytes, bytes] = {}


def encode_header(
    *,
    name: bytes,
    typeflag: bytes = REGULAR,
    mode: int = 0,
    uid: int = 0,
    gid: int = 0,
    size: int = 0,
    mtime: int = 0,
    linkname: bytes = b"",
    major: int = 0,
    minor: int = 0,
    records: Mapping[bytes, bytes] = _NO_RECORDS,
) -> bytes:
    """The header blocks of one member. Directory names end in `/`; `mtime` in whole seconds; `records` are extra PAX records.

    Raises ValueError when mode or device numbers do not fit, or a name holds a NUL.
    """
    short = len(name) <= 100 and len(linkname) <= 100 and name.isascii() and linkname.isascii()
    if short and not records and uid < _MAX8 and gid < _MAX8 and size < _MAX12 and 0 <= mtime < _MAX12:
        return _block(name, typeflag, mode, uid, gid, size, mtime, linkname, major, minor, b"")
    pax = _needed_records(name, uid, gid, size, mtime, linkname)
    if not records:
        split = _split(name)
        if split is not None and not (pax.keys() - {b"path"}):
            return _block(split[1], typeflag, mode, uid, gid, size, mtime, linkname, major, minor, split[0])
        if split is not None:
            pax[b"path"] = name
    for key, value in records.items():
        pax.setdefault(key, value)
    main = _block(
        _cut(name),
        typeflag,
        mode,
        uid if uid < _MAX8 else 0,
        gid if gid < _MAX8 else 0,
        size if size < _MAX12 else 0,
        mtime if 0 <= mtime < _MAX12 else 0,
        _ascii(linkname)[:100],
        major,
        minor,
        b"",
    )
    return _pax_header(name, pax) + main


def padding(size: int) -> bytes:
    """The zeros after `size` bytes of data."""
    return bytes(-size % BLOCK)


def _needed_records(name: bytes, uid: int, gid: int, size: int, mtime: int, linkname: bytes) -> dict[bytes, bytes]:
    pax: dict[bytes, bytes] = {}
    if b"\0" in name or b"\0" in linkname:
        raise ValueError(f"tar: NUL in name {name[:100]!r}")
    if len(name) > 100 or not name.isascii():
        pax[b"path"] = name
    if len(linkname) > 100 or not linkname.isascii():
        pax[b"linkpath"] = linkname
    for key, value, limit in ((b"uid", uid, _MAX8), (b"gid", gid, _MAX8), (b"size", size, _MAX12), (b"mtime", mtime, _MAX12)):
        if not 0 <= value < limit:
            pax[key] = b"%d" % value
    return pax


def _split(name: bytes) -> tuple[bytes, bytes] | None:
    """ustar's prefix and name fields for a name of more than 100 bytes, or None."""
    length = len(name)
    if length <= 100 or not name.isascii():
        return None
    if length > 156:
        length = 156
    elif name.endswith(b"/"):
        length -= 1
    i = name.rfind(b"/", 0, length)
    rest = len(name) - i - 1
    if i <= 0 or rest > 100 or rest == 0 or i > 155:
        return None
    return name[:i], name[i + 1 :]


def _pax_header(name: bytes, pax: Mapping[bytes, bytes]) -> bytes:
    data = b"".join(_record(k, pax[k]) for k in sorted(pax))
    directory, base = posixpath.split(name)
    pseudo = posixpath.normpath(posixpath.join(directory, b"PaxHeaders.0", base))
    head = _ascii(pseudo)[:100].rstrip(b"/")
    block = _seal(head.ljust(100, b"\0") + b"0000000\0" * 3 + b"%011o\0" % len(data) + b"00000000000\0", PAX + bytes(100), bytes(80), b"")
    return block + data + padding(len(data))


def _record(key: bytes, value: bytes) -> bytes:
    """`<length> <key>=<value>\\n`, where the length counts its own digits."""
    rest = len(key) + len(value) + 3
    size = rest + len(str(rest))
    size = rest + len(str(size))
    return b"%d %b=%b\n" % (size, key, value)


def _block(
    name: bytes,
    typeflag: bytes,
    mode: int,
    uid: int,
    gid: int,
    size: int,
    mtime: int,
    linkname: bytes,
    major: int,
    minor: int,
    prefix: bytes,
) -> bytes:
    if not (0 <= mode < _MAX8 and 0 <= major < _MAX8 and 0 <= minor < _MAX8):
        raise ValueError(f"tar: mode or device number of {name[:100]!r} does not fit")
    head = b"%b%07o\0%07o\0%07o\0%011o\0%011o\0" % (name.ljust(100, b"\0"), mode, uid, gid, size, mtime)
    owner_and_device = bytes(64) + b"%07o\0%07o\0" % (major, minor)
    return _seal(head, typeflag + linkname.ljust(100, b"\0"), owner_and_device, prefix)


def _seal(head: bytes, link: bytes, owner_and_device: bytes, prefix: bytes) -> bytes:
    tail = link + b"ustar\x0000" + owner_and_device + prefix.ljust(155, b"\0") + _TAIL
    return head + b"%06o\0 " % (sum(head) + sum(tail) + 256) + tail


def _cut(name: bytes) -> bytes:
    """The name field when a PAX record has the whole name: ASCII only, no slash at the cut."""
    text = _ascii(name)
    if len(text) > 100 and text[99:100] == b"/":
        return text[:100].rstrip(b"/")
    return text[:100]


def _ascii(name: bytes) -> bytes:
    return name if name.isascii() else bytes(c for c in name if c < 0x80)
