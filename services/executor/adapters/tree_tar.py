"""A list of entries as a plain tar stream (exporter/tar; fsutil tarwriter.go). Blocking: iterate in a thread."""

import os
from collections.abc import Callable, Iterator

from shared.fsutil import mode as modes
from shared.fsutil.packets import Stat
from shared.oci.tar_header import BLOCK_DEVICE, CHAR, DIRECTORY, END, FIFO, HARDLINK, REGULAR, SYMLINK, encode_header, padding

_PIECE = 1 << 20
_NS = 1_000_000_000


def tar_chunks(entries: Iterator[Stat], open_file: Callable[[str], int | None]) -> Iterator[bytes]:
    """The whole archive. A file that can't be opened, or shrinks meanwhile, is filled with zeros up to its announced size."""
    for stat in entries:
        typeflag = _typeflag(stat)
        size = stat.size if typeflag == REGULAR else 0
        yield _header(stat, typeflag, size)
        if size:
            yield from _data(open_file(stat.path), size)
            yield padding(size)
    yield END


def _typeflag(stat: Stat) -> bytes:
    if stat.mode & modes.DIR:
        return DIRECTORY
    if stat.mode & modes.SYMLINK:
        return SYMLINK
    if stat.mode & modes.NAMED_PIPE:
        return FIFO
    if stat.mode & modes.DEVICE:
        return CHAR if stat.mode & modes.CHAR_DEVICE else BLOCK_DEVICE
    return HARDLINK if stat.linkname else REGULAR


def _header(stat: Stat, typeflag: bytes, size: int) -> bytes:
    name = os.fsencode(stat.path)
    return encode_header(
        name=name + b"/" if typeflag == DIRECTORY else name,
        typeflag=typeflag,
        mode=modes.to_unix(stat.mode) & 0o7777,
        uid=stat.uid,
        gid=stat.gid,
        size=size,
        mtime=(stat.mtime + _NS // 2) // _NS,  # archive/tar of Go rounds where no format is asked for; image layers are cut instead
        linkname=os.fsencode(stat.linkname),
        major=stat.devmajor,
        minor=stat.devminor,
        records={b"SCHILY.xattr." + os.fsencode(k): v for k, v in (stat.xattrs or {}).items()},
    )


def _data(descriptor: int | None, size: int) -> Iterator[bytes]:
    left = size
    if descriptor is not None:
        try:
            while left and (chunk := os.read(descriptor, min(_PIECE, left))):
                left -= len(chunk)
                yield chunk
        finally:
            os.close(descriptor)
    while left:
        yield bytes(min(_PIECE, left))
        left -= min(_PIECE, left)
