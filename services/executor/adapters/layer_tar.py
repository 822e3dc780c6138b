"""Changes as a layer tar, byte for byte as containerd's archive writer makes it (vendor/…/containerd/pkg/archive/tar.go ChangeWriter).

Whiteouts are empty `.wh.<name>` files of time 0. Only `security.capability` of the extended attributes goes into a layer.
"""

import os
import stat
from collections.abc import Callable, Iterable, Iterator

from services.executor.adapters.layer_changes import Change, ChangeKind, capability
from shared.errors import Internal
from shared.oci import WHITEOUT_PREFIX
from shared.oci.tar_header import (
    BLOCK_DEVICE,
    CHAR,
    DIRECTORY,
    END,
    FIFO,
    HARDLINK,
    REGULAR,
    SYMLINK,
    encode_header,
    padding,
)

_PIECE = 1 << 20
_TYPES = {
    stat.S_IFREG: REGULAR,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHAR,
    stat.S_IFBLK: BLOCK_DEVICE,
    stat.S_IFIFO: FIFO,
}


def layer_tar(changes: Iterable[Change], parent_of: Callable[[str], Change], *, latest: int | None = None) -> Iterator[bytes | memoryview]:
    """The tar as pieces of about a MiB. `parent_of` gives an unchanged parent directory as it is (parents of changes are always included).

    Times after `latest` (seconds) become `latest`. Raises OSError, and Internal when a file changes while it is read.
    """
    return _Writer(parent_of, latest).run(changes)


class _Writer:
    def __init__(self, parent_of: Callable[[str], Change], latest: int | None) -> None:
        self._parent_of = parent_of
        self._latest = latest
        self._directories: set[str] = set()
        self._links: dict[tuple[int, int], bytes] = {}  # (device, inode) → the name that carries the data
        self._waiting: dict[tuple[int, int], list[str]] = {}  # unchanged names of files that may turn out changed
        self._buffer = bytearray()

    def run(self, changes: Iterable[Change]) -> Iterator[bytes | memoryview]:
        for change in changes:
            yield from self._change(change)
            if len(self._buffer) >= _PIECE:
                yield bytes(self._buffer)
                self._buffer.clear()
        yield bytes(self._buffer) + END

    def _change(self, change: Change) -> Iterator[bytes | memoryview]:
        if change.kind is ChangeKind.DELETE:
            directory, _, base = change.path.rpartition("/")
            name = f"{directory}/{WHITEOUT_PREFIX}{base}" if directory else WHITEOUT_PREFIX + base
            yield from self._parents(change.path)
            self._buffer += encode_header(name=os.fsencode(name))
            return
        st = change.stat
        assert st is not None
        kind = stat.S_IFMT(st.st_mode)
        if kind == stat.S_IFSOCK:
            return
        if st.st_nlink > 1 and kind != stat.S_IFDIR:
            yield from self._linked(change, st)
        elif change.kind is not ChangeKind.UNMODIFIED:
            yield from self._member(change, st)

    def _linked(self, change: Change, st: os.stat_result) -> Iterator[bytes | memoryview]:
        """A file with several names: the first one written carries the data, the others are links to it."""
        key = (st.st_dev, st.st_ino)
        first = self._links.get(key)
        if first is None and change.kind is ChangeKind.UNMODIFIED:
            self._waiting.setdefault(key, []).append(change.path)
            return
        if first is not None:
            yield from self._member(change, st, link=first)
            return
        self._links[key] = first = os.fsencode(change.path)
        yield from self._member(change, st)
        for path in self._waiting.pop(key, ()):
            yield from self._member(change._replace(path=path), st, link=first)

    def _member(self, change: Change, st: os.stat_result, *, link: bytes = b"") -> Iterator[bytes | memoryview]:
        kind = stat.S_IFMT(st.st_mode)
        path = change.path
        if "/" in path:
            yield from self._parents(path)
        name = os.fsencode(path)
        if kind == stat.S_IFDIR:
            self._directories.add(path)
            name += b"/"
        linkname = link
        if kind == stat.S_IFLNK and not link:
            linkname = os.fsencode(os.readlink(change.source))
        device = kind in (stat.S_IFCHR, stat.S_IFBLK)
        value = capability(change.source) if kind != stat.S_IFLNK else b""
        size = st.st_size if kind == stat.S_IFREG and not link else 0
        mtime = st.st_mtime_ns // 1_000_000_000
        if self._latest is not None and mtime > self._latest:
            mtime = self._latest
        self._buffer += encode_header(
            name=name,
            typeflag=HARDLINK if link else _TYPES[kind],
            mode=0o777 if kind == stat.S_IFLNK else st.st_mode & 0o7777,
            uid=st.st_uid,
            gid=st.st_gid,
            size=size,
            mtime=mtime,
            linkname=linkname,
            major=os.major(st.st_rdev) if device else 0,
            minor=os.minor(st.st_rdev) if device else 0,
            records={b"SCHILY.xattr.security.capability": value} if value else {},
        )
        if size:
            yield from self._data(change.source, size)

    def _data(self, source: str, size: int) -> Iterator[bytes | memoryview]:
        fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            left = size
            while left:
                data = os.read(fd, min(left, _PIECE))
                if not data:
                    raise Internal(f"{source} became shorter while it was packed")
                left -= len(data)
                if len(data) < _PIECE // 8:
                    self._buffer += data
                else:
                    yield bytes(self._buffer)
                    self._buffer.clear()
                    yield data
        finally:
            os.close(fd)
        self._buffer += padding(size)

    def _parents(self, path: str) -> Iterator[bytes | memoryview]:
        """Every parent directory that has not been written yet, outermost first."""
        parent = path.rpartition("/")[0]
        if parent and parent not in self._directories:
            self._directories.add(parent)
            change = self._parent_of(parent)
            assert change.stat is not None
            yield from self._member(change, change.stat)
