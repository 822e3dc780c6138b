"""Unpacking of tar archives as ADD does: found out by content, compressed or not, every member kept inside its directory.

Members with absolute names or `..`, with hard links out of the tree, or below a symlink that leads out, end inside or are
refused: each name is resolved from the destination as root. Device nodes, of which a build has no use, are refused.
"""

from __future__ import annotations

import bz2
import io
import lzma
import os
import posixpath
import shutil
import stat
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from services.executor.adapters.rooted import Rooted, Spot
from shared.errors import BuildFailed

__all__ = ["unpack_archive"]

_MAGIC = (
    (b"\x1f\x8b\x08", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)


def unpack_archive(source: Rooted, path: str, target: Rooted, dest: str, *, owner: tuple[int, int] | None, time_ns: int | None) -> bool:
    """Unpack the archive at `path` into `dest` (made with mode 0755 if missing); False = it is no archive, nothing was done.

    `owner` overrides those of the archive. Errors: BuildFailed naming the member.
    """
    with source.find(path) as spot:
        if spot.info is None or not stat.S_ISREG(spot.info.st_mode):
            return False
        file = open(spot.open(os.O_RDONLY), "rb")  # noqa: SIM115 (closed below, it outlives the spot)
    with file, _plain(file) as stream:
        try:
            archive = tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 18)  # noqa: SIM115
        except Exception:  # each decompressor has its own errors; all of them mean: not an archive
            return False
        with archive:
            first = next(iter(archive), None)
            if first is None and spot.info.st_size == 0:
                return False
            target.make_dirs(dest, 0o755, owner=owner, time_ns=time_ns)
            with target.find(dest) as place:
                root = f"{target.path}/{place.path}"
            with Rooted(root) as inside:
                _Unpacker(archive, inside, owner).run(first)
    return True


@contextmanager
def _plain(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """The uncompressed stream, by magic number."""
    head = file.read(8)
    file.seek(0)
    kind = next((name for magic, name in _MAGIC if head.startswith(magic)), "")
    match kind:
        case "gzip":
            from isal import igzip

            with igzip.open(file, "rb") as stream:  # type: ignore[no-untyped-call]
                yield cast("IO[bytes]", stream)
        case "bzip2":
            with bz2.open(file, "rb") as plain:
                yield plain
        case "xz":
            with lzma.open(file, "rb") as plain:
                yield plain
        case "zstd":
            import zstandard

            with zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True) as reader:
                yield cast("IO[bytes]", io.BufferedReader(cast("io.RawIOBase", reader), 1 << 18))
        case _:
            yield file


class _Unpacker:
    def __init__(self, archive: tarfile.TarFile, root: Rooted, owner: tuple[int, int] | None) -> None:
        self._archive = archive
        self._root = root
        self._owner = owner
        self._dirs: list[tuple[str, tarfile.TarInfo]] = []

    def run(self, first: tarfile.TarInfo | None) -> None:
        """Unpack `first` (already read) and the rest."""
        member = first
        while member is not None:
            name = member.name
            try:
                self._one(member)
                member = self._archive.next()
            except BuildFailed:
                raise
            except OSError as error:
                raise BuildFailed(f"failed to unpack {name}: {error.strerror or error}") from error
            except Exception as error:  # of tarfile or of one of four decompressors
                raise BuildFailed(f"failed to unpack {name}: {error}") from error
        for path, info in reversed(self._dirs):
            with self._root.find(path, follow=False) as spot:
                if spot.is_dir:
                    _set_time(spot, info)

    def _one(self, member: tarfile.TarInfo) -> None:
        name = posixpath.normpath("/" + member.name).lstrip("/")
        if ".." in member.name.split("/"):
            raise BuildFailed(f"archive member {member.name!r} points outside of the destination")
        if not name:
            if member.isdir():
                self._looks_of_root(member)
            return
        parent = posixpath.dirname(name)
        if parent:
            self._root.make_dirs(parent, 0o755)  # directories that are only implied belong to root, whatever --chown says
        with self._root.find(name, follow=False) as spot:
            self._make(member, name, spot)

    def _looks_of_root(self, member: tarfile.TarInfo) -> None:
        with self._root.find("") as spot:
            self._dress(member, spot)
        self._dirs.append(("", member))

    def _make(self, member: tarfile.TarInfo, name: str, spot: Spot) -> None:
        if spot.info is not None and not (spot.is_dir and member.isdir()):
            if spot.is_dir:
                shutil.rmtree(spot.name, dir_fd=spot.parent)
            else:
                os.unlink(spot.name, dir_fd=spot.parent)
        if member.isdir():
            if not spot.is_dir:
                os.mkdir(spot.name, 0o700, dir_fd=spot.parent)
            self._dirs.append((name, member))
        elif member.isreg():
            self._write(member, spot)
        elif member.issym():
            os.symlink(member.linkname, spot.name, dir_fd=spot.parent)
        elif member.islnk():
            self._link(member, spot)
            return
        elif member.isfifo():
            os.mkfifo(spot.name, 0o600, dir_fd=spot.parent)
        else:
            raise BuildFailed(f"archive member {member.name!r} is a device node, which is not allowed")
        self._dress(member, spot)

    def _write(self, member: tarfile.TarInfo, spot: Spot) -> None:
        data = self._archive.extractfile(member)
        fd = os.open(spot.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=spot.parent)
        with open(fd, "wb") as file:
            if data is not None:
                shutil.copyfileobj(data, file, 1 << 18)

    def _link(self, member: tarfile.TarInfo, spot: Spot) -> None:
        if ".." in member.linkname.split("/"):
            raise BuildFailed(f"archive member {member.name!r} links outside of the destination")
        with self._root.find(member.linkname, follow=False) as first:
            if first.info is None or first.is_dir:
                raise BuildFailed(f"archive member {member.name!r} links to {member.linkname!r}, which is not there")
            os.link(first.name, spot.name, src_dir_fd=first.parent, dst_dir_fd=spot.parent, follow_symlinks=False)

    def _dress(self, member: tarfile.TarInfo, spot: Spot) -> None:
        uid, gid = self._owner or (member.uid, member.gid)
        os.chown(spot.name, uid, gid, dir_fd=spot.parent, follow_symlinks=False)
        if not member.issym():
            os.chmod(spot.name, member.mode & 0o7777, dir_fd=spot.parent)
            self._xattrs(member, spot)
        _set_time(spot, member)

    def _xattrs(self, member: tarfile.TarInfo, spot: Spot) -> None:
        place = f"/proc/self/fd/{spot.parent}/{spot.name}"
        for key, value in member.pax_headers.items():
            name = key.removeprefix("SCHILY.xattr.")
            if name == key or name.startswith("trusted."):
                continue
            try:
                os.setxattr(place, name, value.encode("utf-8", "surrogateescape"), follow_symlinks=False)
            except OSError:
                continue


def _set_time(spot: Spot, member: tarfile.TarInfo) -> None:
    stamp = int(member.mtime * 1e9)
    os.utime(spot.name, ns=(stamp, stamp), dir_fd=spot.parent, follow_symlinks=False)
