"""Files of refs, for frontends and clients (BuildKit cache/util/fsutil.go): read a file, list a directory, stat."""

import os
import stat
from fnmatch import fnmatchcase

from services.executor.adapters.materialise import Materialise
from services.executor.adapters.reporter import BatchReporter
from services.executor.adapters.rooted import Rooted, Spot, go_error
from services.executor.ports import SnapshotStore
from shared.blobs.threads import Pool
from shared.bus.calls import Served
from shared.errors import BuildFailed, InvalidInput
from shared.fsutil.mode import to_go
from shared.model import Digest, Ref
from shared.wire.messages import FileData, FileStat, FileStats, ReadRefDir, ReadRefFile, Scope, StatRefFile

MAX_READ = 64 << 20
_NOWHERE = Digest("sha256:" + "0" * 64)


class RefFiles:
    """Handlers of ReadRefFile, ReadRefDir and StatRefFile. Errors are texts like Go's (`open /x: no such file or directory`)."""

    def __init__(self, *, materialise: Materialise, store: SnapshotStore, threads: Pool) -> None:
        self._materialise, self._store, self._threads = materialise, store, threads

    async def read(self, request: ReadRefFile, served: Served) -> FileData:
        """At most 64 MiB."""
        if request.offset < 0 or request.length < 0:
            raise InvalidInput(f"invalid range {request.offset}+{request.length} of {request.path[:200]}")
        id = await self._local(request.ref, request.scope)
        return FileData(data=await self._threads.do(self._read, id, request.path, request.offset, request.length))

    async def list(self, request: ReadRefDir, served: Served) -> FileStats:
        """Direct children, sorted by name."""
        id = await self._local(request.ref, request.scope)
        return FileStats(entries=await self._threads.do(self._list, id, request.path, request.include_pattern))

    async def stat(self, request: StatRefFile, served: Served) -> FileStats:
        """One entry: the path's last component is not followed."""
        id = await self._local(request.ref, request.scope)
        return FileStats(entries=(await self._threads.do(self._stat, id, request.path),))

    async def _local(self, ref: Ref, scope: Scope) -> str:
        return await self._materialise.one(ref, scope, BatchReporter(_NOWHERE))

    def _read(self, id: str, path: str, offset: int, length: int) -> bytes:
        with self._store.mount(id) as root:
            return read_in(root, path, offset, length)

    def _list(self, id: str, path: str, pattern: str) -> tuple[FileStat, ...]:
        with self._store.mount(id) as root:
            return list_in(root, path, pattern)

    def _stat(self, id: str, path: str) -> FileStat:
        with self._store.mount(id) as root:
            return stat_in(root, path, follow=False)


def read_in(root: str, path: str, offset: int, length: int) -> bytes:
    """Content of a file of the tree at `root`; `length` 0 = to its end."""
    with Rooted(root) as tree, tree.find(path) as spot:
        info = _present(spot, "open", path)
        if not stat.S_ISREG(info.st_mode):
            raise BuildFailed(f"{path} is not a regular file")
        wanted = min(length or info.st_size, max(info.st_size - offset, 0))
        if wanted > MAX_READ:
            raise InvalidInput(f"{path}: {wanted} bytes are more than the {MAX_READ} that can be read at once")
        descriptor = spot.open_file()
        try:
            return os.pread(descriptor, wanted, offset)
        except OSError as e:
            raise go_error("read", path, e) from None
        finally:
            os.close(descriptor)


def list_in(root: str, path: str, pattern: str) -> tuple[FileStat, ...]:
    """Direct children by name; `pattern` "" = all."""
    with Rooted(root) as tree, tree.find(path) as spot:
        _present(spot, "open", path)
        if not spot.is_dir:
            raise BuildFailed(f"readdirent {path}: not a directory")
        descriptor = spot.open(os.O_RDONLY | os.O_DIRECTORY)
        try:
            names = sorted(n for n in os.listdir(descriptor) if not pattern or fnmatchcase(n, pattern))
            return tuple(_entry(descriptor, name) for name in names)
        finally:
            os.close(descriptor)


def stat_in(root: str, path: str, *, follow: bool) -> FileStat:
    """One entry."""
    with Rooted(root) as tree, tree.find(path, follow=follow) as spot:
        info = _present(spot, "lstat", path)
        name = os.path.basename(path.rstrip("/")) or "."
        return _file_stat(name, info, _link(spot.parent, spot.name, info), _xattrs(spot))


def _present(spot: Spot, verb: str, path: str) -> os.stat_result:
    if spot.info is None:
        raise go_error(verb, path, FileNotFoundError(2, "no such file or directory"))
    return spot.info


def _entry(directory: int, name: str) -> FileStat:
    info = os.stat(name, dir_fd=directory, follow_symlinks=False)
    return _file_stat(name, info, _link(directory, name, info), {})


def _link(directory: int, name: str, info: os.stat_result) -> str:
    return os.readlink(name, dir_fd=directory) if stat.S_ISLNK(info.st_mode) else ""


def _xattrs(spot: Spot) -> dict[str, bytes]:
    path = f"/proc/self/fd/{spot.parent}/{spot.name}"
    try:
        return {n: os.getxattr(path, n, follow_symlinks=False) for n in os.listxattr(path, follow_symlinks=False)}
    except OSError:
        return {}  # not every file system has them


def _file_stat(name: str, info: os.stat_result, link: str, xattrs: dict[str, bytes]) -> FileStat:
    device = stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode)
    return FileStat(
        path=name,
        mode=to_go(info.st_mode),
        uid=info.st_uid,
        gid=info.st_gid,
        size=0 if stat.S_ISDIR(info.st_mode) else info.st_size,
        mod_time=info.st_mtime_ns,
        linkname=link,
        devmajor=os.major(info.st_rdev) if device else 0,
        devminor=os.minor(info.st_rdev) if device else 0,
        xattrs=xattrs,
    )
