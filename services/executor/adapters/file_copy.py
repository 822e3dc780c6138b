"""Copying between two roots as COPY means it (fsutil/copy/copy.go; reference 03 §4).

Both sides are walked by open directories, so a symlink anywhere can only be copied, never followed. A directory that this
copy has made needs no look before each entry.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from dataclasses import dataclass

from services.executor.adapters.rooted import Rooted, Spot
from services.executor.adapters.tree_copy import copy_content
from services.executor.core.chmod import ModeChange, apply_mode
from shared.errors import BuildFailed
from shared.fsutil.patterns import MatchInfo, PatternMatcher

__all__ = ["CopyRules", "copy_path"]

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_READ_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIR_MODE = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyRules:
    """`mode` absolute or changes, `time_ns` and `owner` override the source's. Patterns are relative to the copied directory."""

    owner: tuple[int, int] | None = None
    mode: int | tuple[ModeChange, ...] | None = None
    time_ns: int | None = None
    include: PatternMatcher | None = None
    exclude: PatternMatcher | None = None
    contents: bool = False
    follow: bool = False
    replace: bool = False

    @property
    def dir_mode(self) -> int:
        """Of directories that have no source."""
        return self.mode if isinstance(self.mode, int) else _DIR_MODE


@dataclass(slots=True)
class _Parent:
    """A directory on the way down that is made only once something below it is included."""

    source: int
    target: int  # of the target's parent, or of the made directory
    name: str
    info: os.stat_result
    fd: int = -1
    fresh: bool = False


def copy_path(
    source: Rooted, src: str, target: Rooted, dest: str, rules: CopyRules, *, stopped: Callable[[], bool] = lambda: False
) -> None:
    """Copy `src` below one root to `dest` below the other. Trailing `/` or `/.` of `dest` make it a directory.

    Errors: OSError, BuildFailed; InterruptedError soon after `stopped()` says so.
    """
    head, _, tail = dest.rpartition("/")
    made = target.make_dirs(dest if tail in ("", ".") else head, rules.dir_mode, owner=rules.owner, time_ns=rules.time_ns)
    with source.find(src, follow=rules.follow) as from_spot:
        if from_spot.info is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), src)
        final, more = _target_path(from_spot, src, target, dest, rules)
        made += more
        with target.find(final, follow=False) as to_spot:
            _Copier(rules, stopped).start(from_spot, to_spot)
    target.set_times(made, rules.time_ns)


def _target_path(spot: Spot, src: str, target: Rooted, dest: str, rules: CopyRules) -> tuple[str, list[str]]:
    """Where the copy goes, symlink-free but for its last name, and the directories made for it."""
    with target.find(dest) as there:
        path, exists, is_dir = there.path, there.info is not None, there.is_dir
    if (spot.is_dir and not rules.contents and exists) or (not spot.is_dir and is_dir):
        name = src.rstrip("/").removesuffix("/.").rstrip("/").rpartition("/")[2]
        path = f"{path}/{name}" if path else name
    parent = path if rules.contents and spot.is_dir and not exists else path.rpartition("/")[0]
    return path, target.make_dirs(parent, rules.dir_mode, owner=rules.owner, time_ns=rules.time_ns)


class _Copier:
    def __init__(self, rules: CopyRules, stopped: Callable[[], bool]) -> None:
        self._rules = rules
        self._stopped = stopped
        self._links: dict[tuple[int, int], tuple[int, str]] = {}
        self._link_dirs: list[int] = []
        self._filtered = rules.include is not None or rules.exclude is not None
        self._parents: list[_Parent] = []

    def start(self, source: Spot, target: Spot) -> None:
        assert source.info is not None
        try:
            if stat.S_ISDIR(source.info.st_mode):
                self._top_directory(source, target)
            else:
                self._clear_for_file(target.parent, target.name, source.info)
                self._entry(source.parent, source.name, source.info, target.parent, target.name)
        finally:
            for fd in self._link_dirs:
                os.close(fd)

    def _top_directory(self, source: Spot, target: Spot) -> None:
        assert source.info is not None
        fresh = self._ensure_dir(target.parent, target.name, source.info)
        from_fd, to_fd = os.open(source.name, _READ_DIR, dir_fd=source.parent), os.open(target.name, _READ_DIR, dir_fd=target.parent)
        try:
            self._parents.append(_Parent(from_fd, to_fd, "", source.info, fd=to_fd, fresh=fresh))
            self._below(from_fd, "", (), ())
            if fresh:
                self._dress_fd(to_fd, source.info, from_fd)
            else:  # an existing directory keeps its looks; only its time becomes the source's
                self._set_time(to_fd, source.info)
        finally:
            os.close(from_fd)
            os.close(to_fd)

    # --- going down -----------------------------------------------------------------------------------------------------------

    def _below(self, from_fd: int, rel: str, include: MatchInfo, exclude: MatchInfo) -> None:
        with os.scandir(from_fd) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            if self._stopped():
                raise InterruptedError(errno.EINTR, "copy was canceled")
            info = entry.stat(follow_symlinks=False)
            if self._filtered:
                self._filtered_entry(from_fd, entry.name, info, rel, include, exclude)
            else:
                self._plain_entry(from_fd, entry.name, info)

    def _plain_entry(self, from_fd: int, name: str, info: os.stat_result) -> None:
        parent = self._parents[-1]
        if stat.S_ISDIR(info.st_mode):
            self._directory(from_fd, name, info, "", (), (), included=True)
            return
        if not parent.fresh:
            self._clear_for_file(parent.fd, name, info)
        self._entry(from_fd, name, info, parent.fd, name)

    def _filtered_entry(self, from_fd: int, name: str, info: os.stat_result, rel: str, include: MatchInfo, exclude: MatchInfo) -> None:
        path = f"{rel}/{name}" if rel else name
        rules, wanted, refused = self._rules, True, False
        if rules.include is not None:
            wanted, include = rules.include.match_with_parent(path, include)
        if rules.exclude is not None:
            refused, exclude = rules.exclude.match_with_parent(path, exclude)
        included = wanted and not refused
        if stat.S_ISDIR(info.st_mode):
            if refused and rules.exclude is not None and not rules.exclude.has_exclusions:
                return
            self._directory(from_fd, name, info, path, include, exclude, included=included)
        elif included:
            self._make_parents()
            parent = self._parents[-1]
            if not parent.fresh:
                self._clear_for_file(parent.fd, name, info)
            self._entry(from_fd, name, info, parent.fd, name)

    def _directory(
        self, from_fd: int, name: str, info: os.stat_result, rel: str, include: MatchInfo, exclude: MatchInfo, *, included: bool
    ) -> None:
        source = os.open(name, _READ_DIR, dir_fd=from_fd)
        parent = _Parent(source, -1, name, info)
        self._parents.append(parent)
        try:
            if included:
                self._make_parents()
            self._below(source, rel, include, exclude)
            if parent.fd >= 0 and (included or parent.fresh):
                self._dress_fd(parent.fd, info, source)
        finally:
            self._parents.pop()
            os.close(source)
            if parent.fd >= 0:
                os.close(parent.fd)

    def _make_parents(self) -> None:
        for above, parent in zip(self._parents, self._parents[1:], strict=False):
            if parent.fd < 0:
                parent.fresh = self._ensure_dir(above.fd, parent.name, parent.info, fresh_parent=above.fresh)
                parent.fd = os.open(parent.name, _READ_DIR, dir_fd=above.fd)

    def _ensure_dir(self, to_fd: int, name: str, info: os.stat_result, *, fresh_parent: bool = False) -> bool:
        """Make a directory; False if it was there. Errors: BuildFailed when something else is."""
        there = None if fresh_parent else _lstat(to_fd, name)
        if there is not None:
            if stat.S_ISDIR(there.st_mode):
                return False
            if not self._rules.replace:
                raise BuildFailed(f"cannot copy to non-directory: {name}")
            os.unlink(name, dir_fd=to_fd)
        os.mkdir(name, 0o700, dir_fd=to_fd)
        return True

    # --- one entry ------------------------------------------------------------------------------------------------------------

    def _clear_for_file(self, to_fd: int, name: str, info: os.stat_result) -> None:
        there = _lstat(to_fd, name)
        if there is None:
            return
        if not stat.S_ISDIR(there.st_mode):
            os.unlink(name, dir_fd=to_fd)
        elif self._rules.replace:
            shutil.rmtree(name, dir_fd=to_fd)
        else:
            raise BuildFailed(f"cannot replace to directory {name} with file")

    def _entry(self, from_fd: int, from_name: str, info: os.stat_result, to_fd: int, name: str) -> None:
        mode = info.st_mode
        if stat.S_ISREG(mode):
            if info.st_nlink > 1 and self._linked(info, to_fd, name):
                return
            self._file(from_fd, from_name, info, to_fd, name)
            return
        if stat.S_ISLNK(mode):
            os.symlink(os.readlink(from_name, dir_fd=from_fd), name, dir_fd=to_fd)
        elif stat.S_ISSOCK(mode):
            os.mknod(name, stat.S_IFREG | 0o600, dir_fd=to_fd)
        else:
            os.mknod(name, stat.S_IFMT(mode) | 0o600, info.st_rdev, dir_fd=to_fd)
        self._dress_name(to_fd, name, info)

    def _linked(self, info: os.stat_result, to_fd: int, name: str) -> bool:
        """Link to the copy already made of the same inode; else remember this one as the first."""
        key = (info.st_dev, info.st_ino)
        first = self._links.get(key)
        if first is None:
            kept = os.dup(to_fd)
            self._link_dirs.append(kept)
            self._links[key] = (kept, name)
            return False
        os.link(first[1], name, src_dir_fd=first[0], dst_dir_fd=to_fd, follow_symlinks=False)
        return True

    def _file(self, from_fd: int, from_name: str, info: os.stat_result, to_fd: int, name: str) -> None:
        reader = os.open(from_name, _READ, dir_fd=from_fd)
        try:
            writer = os.open(name, _CREATE, 0o600, dir_fd=to_fd)
            try:
                if info.st_size:
                    copy_content(reader, writer, info.st_size)
                self._dress_fd(writer, info, reader)
            finally:
                os.close(writer)
        finally:
            os.close(reader)

    # --- looks ----------------------------------------------------------------------------------------------------------------

    def _dress_fd(self, fd: int, info: os.stat_result, source: int) -> None:
        rules = self._rules
        owner = rules.owner or (info.st_uid, info.st_gid)
        if owner != (0, 0) or stat.S_ISDIR(info.st_mode):
            os.fchown(fd, *owner)
        os.fchmod(fd, self._mode(info))
        _copy_xattrs(source, fd)
        self._set_time(fd, info)

    def _dress_name(self, to_fd: int, name: str, info: os.stat_result) -> None:
        owner = self._rules.owner or (info.st_uid, info.st_gid)
        os.chown(name, *owner, dir_fd=to_fd, follow_symlinks=False)
        if not stat.S_ISLNK(info.st_mode):
            os.chmod(name, self._mode(info), dir_fd=to_fd)
        times = (info.st_atime_ns, info.st_mtime_ns) if self._rules.time_ns is None else (self._rules.time_ns,) * 2
        os.utime(name, ns=times, dir_fd=to_fd, follow_symlinks=False)

    def _mode(self, info: os.stat_result) -> int:
        mode = self._rules.mode
        return stat.S_IMODE(info.st_mode) if mode is None else apply_mode(mode, info.st_mode)

    def _set_time(self, fd: int, info: os.stat_result) -> None:
        time = self._rules.time_ns
        os.utime(fd, ns=(info.st_atime_ns, info.st_mtime_ns) if time is None else (time, time))


def _copy_xattrs(source: int, target: int) -> None:
    try:
        names = os.listxattr(source)
    except OSError:
        return
    for name in names:
        if not name.startswith("trusted.overlay."):
            try:
                os.setxattr(target, name, os.getxattr(source, name))
            except OSError:
                continue


def _lstat(dir_fd: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None
