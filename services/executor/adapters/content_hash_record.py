"""The digest of one file for cache keys: sha256 over a tarsum v1 header and the content.

Source: BuildKit cache/contenthash/filehash.go, tarsum.go.

The header has neither name nor mtime. Directories, symlinks and special files have no content, so theirs is the header's digest.
"""

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence

_GO_DIR, _GO_SYMLINK, _GO_DEVICE, _GO_PIPE = 1 << 31, 1 << 27, 1 << 26, 1 << 25
_GO_SETUID, _GO_SETGID, _GO_CHAR, _GO_STICKY = 1 << 23, 1 << 22, 1 << 21, 1 << 20
_READ = 1 << 20

EMPTY_DIGEST = "sha256:" + hashlib.sha256().hexdigest()


def tarsum_header(
    *, perm: int, uid: int, gid: int, size: int, typeflag: str, linkname: str, major: int, minor: int, xattrs: Mapping[str, bytes]
) -> bytes:
    """Field names and values in tarsum's order, with nothing between; `perm` holds the low 12 mode bits."""
    text = f"namemode{perm}uid{uid}gid{gid}size{size}typeflag{typeflag}linkname{linkname}unamegnamedevmajor{major}devminor{minor}"
    head = os.fsencode(text)
    return head + _xattr_part(xattrs) if xattrs else head


def header_of_stat(st: os.stat_result, *, linkname: str, xattrs: Mapping[str, bytes]) -> bytes:
    """The header of what lies on disk. Device numbers are 0, as BuildKit's scan leaves them (filehash_unix.go)."""
    kind = stat.S_IFMT(st.st_mode)
    typeflag = _TYPEFLAG.get(kind, "0")
    return tarsum_header(
        perm=0o777 if kind == stat.S_IFLNK else st.st_mode & 0o7777,
        uid=st.st_uid,
        gid=st.st_gid,
        size=st.st_size if kind == stat.S_IFREG else 0,
        typeflag=typeflag,
        linkname=linkname,
        major=0,
        minor=0,
        xattrs=xattrs,
    )


def header_of_wire(
    *, mode: int, uid: int, gid: int, size: int, linkname: str, major: int, minor: int, xattrs: Mapping[str, bytes]
) -> bytes:
    """The header of an fsutil Stat; `mode` is Go's os.FileMode, `linkname` counts for symlinks only."""
    perm = mode & 0o777
    perm |= 0o4000 * bool(mode & _GO_SETUID) | 0o2000 * bool(mode & _GO_SETGID) | 0o1000 * bool(mode & _GO_STICKY)
    typeflag = _wire_typeflag(mode)
    return tarsum_header(
        perm=perm,
        uid=uid,
        gid=gid,
        size=size if typeflag == "0" else 0,
        typeflag=typeflag,
        linkname=linkname if typeflag == "2" else "",
        major=major,
        minor=minor,
        xattrs=xattrs,
    )


def digest_of(header: bytes, content: bytes = b"") -> str:
    """`sha256:<hex>` of a record whose content is at hand."""
    return "sha256:" + hashlib.sha256(header + content).hexdigest()


def digest_file(path: str, st: os.stat_result) -> str:
    """The digest of the file, directory, symlink or special file at `path` itself (never of what a link points to). Raises OSError."""
    link = os.readlink(path) if stat.S_ISLNK(st.st_mode) else ""
    header = header_of_stat(st, linkname=link, xattrs=read_xattrs(path))
    if not stat.S_ISREG(st.st_mode) or st.st_size == 0:
        return digest_of(header)
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        data = os.read(fd, min(st.st_size + 1, _READ))
        if len(data) == st.st_size < _READ:
            return digest_of(header, data)
        h = hashlib.sha256(header)
        while data:
            h.update(data)
            data = os.read(fd, _READ)
    finally:
        os.close(fd)
    return "sha256:" + h.hexdigest()


def read_xattrs(path: str) -> dict[str, bytes]:
    """The extended attributes of `path` itself that count; empty where the file system has none."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:
        return {}
    return {n: v for n in names if _counts(n) and (v := _xattr(path, n)) is not None}


def _xattr(path: str, name: str) -> bytes | None:
    try:
        return os.getxattr(path, name, follow_symlinks=False)
    except OSError:
        return None


def _xattr_part(xattrs: Mapping[str, bytes]) -> bytes:
    names: Sequence[str] = sorted(n for n in xattrs if _counts(n))
    return b"".join(os.fsencode(n) + xattrs[n] for n in names)


def _counts(name: str) -> bool:
    if name.startswith("trusted.overlay."):  # an overlay mount would hide these
        return False
    return name == "security.capability" or not name.startswith(("security.", "system."))


_TYPEFLAG = {stat.S_IFDIR: "5", stat.S_IFLNK: "2", stat.S_IFCHR: "3", stat.S_IFBLK: "4", stat.S_IFIFO: "6"}


def _wire_typeflag(mode: int) -> str:
    if mode & _GO_DIR:
        return "5"
    if mode & _GO_SYMLINK:
        return "2"
    if mode & _GO_DEVICE:
        return "3" if mode & _GO_CHAR else "4"
    return "6" if mode & _GO_PIPE else "0"
