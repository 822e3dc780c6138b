"""Layer tars into a snapshot's own directory. Members are hostile: every name is resolved inside that directory, link by link.

A member may say `..`, be absolute, lie below a symlink that an earlier member made, or replace a directory by a link: it always
ends up inside. Overlay layers get whiteouts as char devices 0/0 and opaque marks; full trees get the deletion itself.
"""

import errno
import os
import shutil
import stat
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum

from services.executor.adapters.layer_view import View, look, view_of
from shared.errors import InvalidInput
from shared.oci import OPAQUE_MARKER, WHITEOUT_PREFIX, whiteout_target
from shared.oci.tar_header import BLOCK_DEVICE, CHAR, DIRECTORY, FIFO, HARDLINK, PAX_GLOBAL, REGULAR, SYMLINK
from shared.oci.tar_parse import Member, TarError, TarReader

_OPEN_DIRECTORIES = 128
_MAX_LINKS = 255
_MAX_DEPTH = 2048
_MAX_NAME = 4095  # PATH_MAX without its NUL
_MAX_TIME = 1 << 63
_MEMBERS_FAULT = frozenset(
    {errno.ENOTDIR, errno.ENOENT, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.EINVAL, errno.EOVERFLOW, errno.EMLINK}
)
_WHITEOUT = WHITEOUT_PREFIX.encode()
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_SPECIAL = {CHAR: stat.S_IFCHR, BLOCK_DEVICE: stat.S_IFBLK, FIFO: stat.S_IFIFO}


class Whiteouts(Enum):
    """What a `.wh.` member means. OVERLAY marks it for overlayfs, REMOVE deletes in place, KEEP makes an ordinary file of it."""

    OVERLAY = "overlay"
    REMOVE = "remove"
    KEEP = "keep"


def unpack_layer(chunks: Iterator[bytes], target: str, *, whiteouts: Whiteouts, lowers: View = ()) -> int:
    """Apply an uncompressed layer tar to the directory `target`; returns the bytes of file data.

    `lowers` (topmost first) lend their metadata to parent directories that the tar leaves out. Blocks; needs root for owners and devices.
    Raises InvalidInput for a damaged or unusable archive, OSError of the disk.
    """
    unpacker = _Unpacker(target, whiteouts, view_of(lowers))
    try:
        return unpacker.run(TarReader(chunks))
    except TarError as e:
        raise InvalidInput(str(e)) from None
    finally:
        unpacker.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class Apart:
    """What a layer that was unpacked without those below it still needs: directories that its tar leaves out, and (if not `rooted`)
    the root's owner and mode."""

    left_out: tuple[bytes, ...]
    rooted: bool


def unpack_apart(chunks: Iterator[bytes], target: str) -> Apart:
    """As `unpack_layer` for overlayfs, of a layer that lies on others which are not there yet: several can be unpacked at the same time."""
    unpacker = _Unpacker(target, Whiteouts.OVERLAY, (), covered=True)
    try:
        unpacker.run(TarReader(chunks))
    except TarError as e:
        raise InvalidInput(str(e)) from None
    finally:
        unpacker.close()
    return Apart(left_out=tuple(sorted(unpacker.left_out)), rooted=unpacker.rooted)


def put_on(target: str, apart: Apart, lowers: View) -> None:
    """The layers below are there (`lowers`, topmost first): give a layer that was unpacked apart what it needs of them."""
    if lowers and not apart.rooted:
        below = os.stat(lowers[0])
        os.chown(target, below.st_uid, below.st_gid)
        os.chmod(target, stat.S_IMODE(below.st_mode))
    if not apart.left_out:
        return
    unpacker = _Unpacker(target, Whiteouts.OVERLAY, view_of(lowers))
    try:
        unpacker.dress(apart.left_out)
    finally:
        unpacker.close()


class _Unpacker:
    def __init__(self, target: str, whiteouts: Whiteouts, lowers: View, *, covered: bool = False) -> None:
        self._whiteouts = whiteouts
        self._lowers = lowers
        self._covered = covered or bool(lowers)  # something lies below
        self._apart = covered
        self.left_out: set[bytes] = set()
        self.rooted = False
        self._root = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._open: OrderedDict[bytes, int] = OrderedDict()  # resolved directory → descriptor
        self._resolved: dict[bytes, bytes] = {}  # parent as written → resolved, valid until something is replaced
        self._directory_times: dict[bytes, int] = {}
        self._written: set[bytes] | None = set() if whiteouts is Whiteouts.REMOVE else None

    def close(self) -> None:
        for fd in (*self._open.values(), self._root):
            os.close(fd)
        self._open.clear()

    def run(self, reader: TarReader) -> int:
        total = 0
        for member in reader:
            total += member.size
            if not 0 <= member.mtime < _MAX_TIME:
                member = member._replace(mtime=0)
            try:
                self._apply(member, reader)
            except TarError:
                raise
            except (ValueError, OverflowError, RecursionError) as e:
                raise _cannot(member, e) from None
            except OSError as e:
                if e.errno in _MEMBERS_FAULT:
                    raise _cannot(member, e) from None
                raise
        self._set_times()
        return total

    def dress(self, paths: Iterable[bytes]) -> None:
        """Directories that were left out, if they still are such: parents first."""
        for path in paths:
            if self._directory(path) is not None:
                self._dress(path)
        self._set_times()

    def _set_times(self) -> None:
        for path, mtime in reversed(self._directory_times.items()):
            fd = self._directory(path)
            if fd is not None:
                os.utime(fd, ns=(mtime, mtime))

    def _apply(self, member: Member, reader: TarReader) -> None:
        parts = _clean(member.name)
        if not parts:
            if member.typeflag == DIRECTORY and self._whiteouts is not Whiteouts.KEEP:
                self._finish_fd(self._root, b"", member)
                self.rooted = True
            return
        base = parts.pop()
        parent = self._parent(parts)
        fd = self._must_open(parent)
        if base.startswith(_WHITEOUT) and self._whiteouts is not Whiteouts.KEEP:
            self._whiteout(parent, fd, os.fsdecode(base), member)
            return
        path = parent + b"/" + base if parent else base
        if self._written is not None:
            self._written.add(path)
        self._create(member, reader, path, base, fd)

    def _create(self, member: Member, reader: TarReader, path: bytes, base: bytes, fd: int) -> None:
        flag = member.typeflag
        if flag == REGULAR or flag == b"7":
            self._file(member, reader, path, base, fd)
        elif flag == DIRECTORY:
            self._make_directory(member, path, base, fd)
        elif flag == SYMLINK:
            self._replacing(path, base, fd, lambda: os.symlink(member.linkname, base, dir_fd=fd))
            self._finish_name(base, fd, member)
        elif flag == HARDLINK:
            self._hardlink(member, path, base)
        elif flag in _SPECIAL:
            mode, device = member.mode | _SPECIAL[flag], os.makedev(member.major, member.minor)
            self._replacing(path, base, fd, lambda: os.mknod(base, mode, device, dir_fd=fd))
            self._finish_name(base, fd, member)
        elif flag != PAX_GLOBAL:
            raise ValueError(f"unknown tar type {flag!r}")

    def _file(self, member: Member, reader: TarReader, path: bytes, base: bytes, fd: int) -> None:
        try:
            out = os.open(base, _NEW_FILE, member.mode & 0o777, dir_fd=fd)
        except FileExistsError:
            self._remove(path, base, fd)
            out = os.open(base, _NEW_FILE, member.mode & 0o777, dir_fd=fd)
        try:
            while data := reader.read():
                while data:
                    data = data[os.write(out, data) :]
            self._finish_fd(out, b"", member)
        finally:
            os.close(out)

    def _make_directory(self, member: Member, path: bytes, base: bytes, fd: int) -> None:
        try:
            os.mkdir(base, member.mode & 0o777, dir_fd=fd)
        except FileExistsError:
            st = os.stat(base, dir_fd=fd, follow_symlinks=False)
            if not stat.S_ISDIR(st.st_mode):
                hid_a_name = stat.S_ISCHR(st.st_mode) and st.st_rdev == 0
                self._remove(path, base, fd)
                os.mkdir(base, member.mode & 0o777, dir_fd=fd)
                if hid_a_name and self._whiteouts is Whiteouts.OVERLAY:
                    self._mark_opaque(self._must_open(path))
        self._finish_fd(self._must_open(path), path, member)
        self.left_out.discard(path)

    def _hardlink(self, member: Member, path: bytes, base: bytes) -> None:
        parts = _clean(member.linkname)
        if not parts:
            raise ValueError("hard link to the root")
        name = parts.pop()
        source_parent = self._parent(parts)
        if (source_parent + b"/" + name).lstrip(b"/") == path:
            return
        source = os.dup(self._must_open(source_parent))  # opening the other directory may push this one out of the cache
        try:
            fd = self._must_open(path.rpartition(b"/")[0])
            if stat.S_ISDIR(os.stat(name, dir_fd=source, follow_symlinks=False).st_mode):
                raise ValueError("hard link to a directory")
            self._replacing(path, base, fd, lambda: os.link(name, base, src_dir_fd=source, dst_dir_fd=fd, follow_symlinks=False))
        finally:
            os.close(source)

    def _whiteout(self, parent: bytes, fd: int, base: str, member: Member) -> None:
        if base == OPAQUE_MARKER:
            if self._whiteouts is Whiteouts.OVERLAY:
                self._mark_opaque(fd)
            else:
                self._clear(parent)
            return
        if base.startswith(WHITEOUT_PREFIX * 2):  # other AUFS bookkeeping
            return
        target = os.fsencode(whiteout_target(base) or "")
        path = parent + b"/" + target if parent else target
        if self._whiteouts is Whiteouts.REMOVE:
            if self._written is None or path not in self._written:
                self._remove(path, target, fd)
            return
        if not self._covered:
            return
        try:
            os.mknod(target, stat.S_IFCHR, 0, dir_fd=fd)
            os.chown(target, member.uid, member.gid, dir_fd=fd, follow_symlinks=False)
        except FileExistsError:  # the same layer has made it: that hides what is below, in a directory with its mark
            st = os.stat(target, dir_fd=fd, follow_symlinks=False)
            if stat.S_ISDIR(st.st_mode):
                self._mark_opaque(self._must_open(path))

    def _mark_opaque(self, fd: int) -> None:
        if self._covered:
            os.setxattr(fd, "trusted.overlay.opaque", b"y")

    def _clear(self, directory: bytes) -> None:
        """Remove what this layer did not write from a directory."""
        assert self._written is not None
        todo = [directory]
        while todo:
            parent = todo.pop()
            for name in os.listdir(self._must_open(parent)):
                raw = os.fsencode(name)
                path = parent + b"/" + raw if parent else raw
                fd = self._must_open(parent)
                if path not in self._written:
                    self._remove(path, raw, fd)
                elif stat.S_ISDIR(os.stat(raw, dir_fd=fd, follow_symlinks=False).st_mode):
                    todo.append(path)

    # --- metadata -------------------------------------------------------------------------------------------------------------

    def _finish_fd(self, fd: int, directory: bytes, member: Member) -> None:
        os.chown(fd, member.uid, member.gid)
        for name, value in member.xattrs.items():
            _set_xattr(fd, name, value)
        os.chmod(fd, member.mode)
        if directory:
            self._directory_times[directory] = member.mtime
        else:
            os.utime(fd, ns=(member.mtime, member.mtime))

    def _finish_name(self, base: bytes, fd: int, member: Member) -> None:
        os.chown(base, member.uid, member.gid, dir_fd=fd, follow_symlinks=False)
        for name, value in member.xattrs.items():
            _set_xattr(f"/proc/self/fd/{fd}/{os.fsdecode(base)}", name, value)
        if member.typeflag != SYMLINK:
            os.chmod(base, member.mode, dir_fd=fd)
        os.utime(base, ns=(member.mtime, member.mtime), dir_fd=fd, follow_symlinks=False)

    # --- names ----------------------------------------------------------------------------------------------------------------

    def _parent(self, parts: list[bytes]) -> bytes:
        """The directory that these components lead to, made if missing; links are followed inside the root."""
        written = b"/".join(parts)
        resolved = self._resolved.get(written)
        if resolved is None:
            resolved = self._resolve(parts)
            if len(self._resolved) > 10_000:
                self._resolved.clear()
            self._resolved[written] = resolved
        return resolved

    def _resolve(self, parts: list[bytes]) -> bytes:
        at: list[bytes] = []
        rest = list(reversed(parts))
        links = 0
        while rest:
            part = rest.pop()
            if part == b"..":
                del at[-1:]
                continue
            if len(at) >= _MAX_DEPTH:
                raise ValueError("path is too deep")
            path = b"/".join((*at, part))
            if self._directory(path) is not None:
                at.append(part)
                continue
            target = self._link_or_new_directory(b"/".join(at), path, part)
            if target is None:
                at.append(part)
                continue
            links += 1
            if links > _MAX_LINKS:
                raise ValueError("too many links")
            if target.startswith(b"/"):
                at.clear()
            rest += [p for p in reversed(target.split(b"/")) if p not in (b"", b".")]
        return b"/".join(at)

    def _link_or_new_directory(self, parent: bytes, path: bytes, name: bytes) -> bytes | None:
        """The target of a symlink, or None once the directory was made. Raises NotADirectoryError for anything else that is in the way."""
        fd = self._must_open(parent)
        try:
            st = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            os.mkdir(name, 0o755, dir_fd=fd)
            self._dress(path)
            return None
        if stat.S_ISLNK(st.st_mode):
            return os.readlink(name, dir_fd=fd)
        if stat.S_ISCHR(st.st_mode) and st.st_rdev == 0:  # deleted by this very layer
            os.unlink(name, dir_fd=fd)
            os.mkdir(name, 0o755, dir_fd=fd)
            os.chmod(name, 0o755, dir_fd=fd)
            self._mark_opaque(self._must_open(path))
            return None
        raise NotADirectoryError(errno.ENOTDIR, "not a directory", os.fsdecode(path)[:300])

    def _dress(self, path: bytes) -> None:
        """Give a directory that had to be made the metadata it has below, if it is there."""
        fd = self._must_open(path)
        os.chmod(fd, 0o755)
        if self._apart:
            self.left_out.add(path)
            return
        view, found = self._lowers, None
        for part in path.split(b"/"):
            found = look(view, os.fsdecode(part)) if view else None
            view = found.below if found is not None else ()
        if found is None or not found.below:
            return
        os.chown(fd, found.stat.st_uid, found.stat.st_gid)
        for name in os.listxattr(found.path):
            if not name.startswith("trusted.overlay."):
                _set_xattr(fd, os.fsencode(name), os.getxattr(found.path, name))
        os.chmod(fd, stat.S_IMODE(found.stat.st_mode))
        self._directory_times.setdefault(path, found.stat.st_mtime_ns)

    def _directory(self, path: bytes) -> int | None:
        """A descriptor of a resolved directory, or None if there is no directory of this name."""
        if not path:
            return self._root
        fd = self._open.get(path)
        if fd is not None:
            self._open.move_to_end(path)
            return fd
        parent, _, name = path.rpartition(b"/")
        above = self._directory(parent) if parent in self._open or not parent else self._walk(parent)
        if above is None:
            return None
        try:
            fd = os.open(name, _DIRECTORY_FLAGS, dir_fd=above)
        except (NotADirectoryError, FileNotFoundError):
            return None
        except OSError as e:
            if e.errno == 40:  # ELOOP: a symlink
                return None
            raise
        self._remember(path, fd)
        return fd

    def _walk(self, path: bytes) -> int | None:
        """Open a directory whose parents have fallen out of the cache, from the root down."""
        at = b""
        for part in path.split(b"/"):
            at = at + b"/" + part if at else part
            if self._directory(at) is None:
                return None
        return self._open[path]

    def _remember(self, path: bytes, fd: int) -> None:
        self._open[path] = fd
        if len(self._open) > _OPEN_DIRECTORIES:
            os.close(self._open.popitem(last=False)[1])

    def _must_open(self, path: bytes) -> int:
        fd = self._directory(path)
        if fd is None:
            raise NotADirectoryError(errno.ENOTDIR, "not a directory", os.fsdecode(path)[:300])
        return fd

    def _replacing(self, path: bytes, base: bytes, fd: int, create: Callable[[], None]) -> None:
        try:
            create()
        except FileExistsError:
            self._remove(path, base, fd)
            create()

    def _remove(self, path: bytes, base: bytes, fd: int) -> None:
        """Remove a name and all below it; what was known of paths is forgotten."""
        try:
            os.unlink(base, dir_fd=fd)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            self._forget(path)
            shutil.rmtree(base, dir_fd=fd)
        self._resolved.clear()

    def _forget(self, path: bytes) -> None:
        prefix = path + b"/"
        for known in [p for p in self._open if p == path or p.startswith(prefix)]:
            os.close(self._open.pop(known))
        for known in [p for p in self._directory_times if p == path or p.startswith(prefix)]:
            del self._directory_times[known]


def _cannot(member: Member, error: Exception) -> InvalidInput:
    return InvalidInput(f"can't unpack {os.fsdecode(member.name)[:300]!r}: {error}")


def _clean(name: bytes) -> list[bytes]:
    """Components of a name taken as rooted: `.` dropped, `..` never above the root (lexically, as Go's filepath.Clean)."""
    if b"\0" in name or len(name) > _MAX_NAME:
        raise ValueError("the name has a NUL, or is too long")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in (b"", b"."):
            parts.append(part)
    return parts


def _set_xattr(target: "int | str", name: bytes, value: bytes) -> None:
    """Attributes that only the host may set are left out, and so are those the file system does not know."""
    if name.startswith((b"trusted.", b"user.overlay.")):
        return
    try:
        os.setxattr(target, name, value, follow_symlinks=not isinstance(target, str))
    except OSError as e:
        if e.errno not in (95, 1, 22):  # ENOTSUP, EPERM (user.* on specials), EINVAL
            raise
