"""File actions on a mounted tree: mkdir, mkfile, rm, symlink, copy (solver/llbsolver/file/backend.go; reference 03 §4).

Blocking; called in a pool thread. Every path is resolved inside its tree. Errors are BuildFailed in Go's words.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from services.executor.adapters.archive import unpack_archive
from services.executor.adapters.file_copy import CopyRules, copy_path
from services.executor.adapters.rooted import Rooted, Spot, go_error
from services.executor.core.chmod import parse_mode
from services.executor.core.fileop import clean_path
from services.executor.core.path_match import has_wildcards, path_match
from shared.errors import BuildFailed, InvalidInput
from shared.fsutil.patterns import PatternMatcher
from shared.llb import Action, Copy, MkDir, MkFile, Rm, Symlink

__all__ = ["Owner", "act", "expand"]

Owner = tuple[int, int]


def act(action: Action, target: str, source: str | None, owner: Owner | None, *, stopped: Callable[[], bool] = lambda: False) -> None:
    """Carry out one action on the tree mounted at `target`; `source` is the tree a copy reads (None = empty)."""
    with Rooted(target) as root:
        match action:
            case MkDir():
                _guard("mkdir", action.path, lambda: _mkdir(root, action, owner))
            case MkFile():
                _guard("open", action.path, lambda: _mkfile(root, action, owner))
            case Symlink():
                _guard("symlink", action.newpath, lambda: _symlink(root, action, owner))
            case Rm():
                _guard("rm", action.path, lambda: _remove(root, action))
            case Copy():
                _guard("copy", action.src, lambda: _copy(root, action, source, owner, stopped))


def _guard(verb: str, path: str, work: Callable[[], None]) -> None:
    try:
        work()
    except InterruptedError:
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        shown = error.filename if isinstance(error.filename, str) and error.filename else path
        raise go_error("lstat" if verb == "copy" and error.errno == errno.ENOENT else verb, shown, error) from error


def _time(timestamp: int) -> int | None:
    return None if timestamp == -1 else timestamp


def _mkdir(root: Rooted, action: MkDir, owner: Owner | None) -> None:
    mode = action.mode & 0o777
    if action.make_parents:
        root.make_dirs(action.path, mode, owner=owner, time_ns=_time(action.timestamp))
        return
    with root.find(action.path) as spot:
        if spot.info is not None:
            return  # also when it is a file: an existing path counts as done
        _need_parent(spot)
        os.mkdir(spot.name, mode, dir_fd=spot.parent)
        os.chmod(spot.name, mode, dir_fd=spot.parent)
        _dress(spot, owner, action.timestamp)


def _need_parent(spot: Spot) -> None:
    if len(spot.missing) > 1:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/" + spot.path)


def _dress(spot: Spot, owner: Owner | None, timestamp: int) -> None:
    if owner is not None:
        os.chown(spot.name, *owner, dir_fd=spot.parent, follow_symlinks=False)
    if timestamp != -1:
        os.utime(spot.name, ns=(timestamp, timestamp), dir_fd=spot.parent, follow_symlinks=False)


def _mkfile(root: Rooted, action: MkFile, owner: Owner | None) -> None:
    with root.find(action.path) as spot:
        _need_parent(spot)
        if spot.is_dir:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), action.path)
        if spot.info is not None and not stat.S_ISREG(spot.info.st_mode):
            raise BuildFailed(f"open {action.path}: not a regular file")
        fd = spot.open(os.O_WRONLY | os.O_CREAT | os.O_TRUNC, action.mode & 0o777)
        with open(fd, "wb") as file:
            if spot.info is None:
                os.fchmod(fd, action.mode & 0o777)
            file.write(action.data)
        _dress(spot, owner, action.timestamp)


def _symlink(root: Rooted, action: Symlink, owner: Owner | None) -> None:
    with root.find(action.newpath) as spot:
        _need_parent(spot)
        if spot.info is not None:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), action.newpath)
        os.symlink(action.oldpath, spot.name, dir_fd=spot.parent)
        _dress(spot, owner, action.timestamp)


def _remove(root: Rooted, action: Rm) -> None:
    if not action.allow_wildcard:
        _remove_one(root, action.path, action.allow_not_found)
        return
    for path in list(expand(root, clean_path(action.path), follow=False)):
        _remove_one(root, path, action.allow_not_found)


def _remove_one(root: Rooted, path: str, allow_not_found: bool) -> None:
    with root.find(path, follow=False) as spot:
        if spot.name in (".", ""):
            raise InvalidInput(f"rmPath: invalid empty path {path!r}")
        if spot.info is None:
            if allow_not_found:
                return
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        if spot.is_dir:
            shutil.rmtree(spot.name, dir_fd=spot.parent)
        else:
            os.unlink(spot.name, dir_fd=spot.parent)


def expand(root: Rooted, pattern: str, *, follow: bool) -> Iterator[str]:
    """Existing paths that match, sorted; what lies below a matching directory is not looked at. Without wildcards: the path itself."""
    parts = [part for part in pattern.split("/") if part]
    place = next((at for at, part in enumerate(parts) if has_wildcards(part)), None)
    if place is None:
        yield pattern
        return
    with root.find("/".join(parts[:place]), follow=follow) as spot:
        if spot.info is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/" + "/".join(parts[:place]))
        if not spot.is_dir:
            return
        base = spot.path
        fd = os.open(spot.name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=spot.parent)
    try:
        yield from _expand(fd, f"/{base}" if base else "", parts[place:])
    finally:
        os.close(fd)


def _expand(fd: int, base: str, parts: list[str]) -> Iterator[str]:
    for name in sorted(os.listdir(fd)):
        if not path_match(parts[0], name):
            continue
        path = f"{base}/{name}"
        if len(parts) == 1:
            yield path
            continue
        try:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        except OSError:
            continue  # not a directory: nothing below it can match
        try:
            yield from _expand(inner, path, parts[1:])
        finally:
            os.close(inner)


def _copy(root: Rooted, action: Copy, source: str | None, owner: Owner | None, stopped: Callable[[], bool]) -> None:
    src, dest = clean_path(action.src), clean_path(action.dest)
    if not action.create_dest_path:
        with root.find(action.dest) as spot:
            _need_parent(spot)
    if source is None:  # scratch: an empty directory, of which only the root can be copied
        with _nothing() as empty:
            _copy(root, action, empty, owner, stopped)
        return
    rules = _rules(action, owner)
    with Rooted(source) as tree:
        matches = list(expand(tree, src, follow=action.follow_symlink)) if action.allow_wildcard else [src]
        if not matches and not action.allow_empty_wildcard:
            raise BuildFailed(f"{src} not found")
        for match in matches:
            if action.attempt_unpack and unpack_archive(tree, match, root, dest, owner=owner, time_ns=rules.time_ns):
                continue
            copy_path(tree, match, root, dest, rules, stopped=stopped)


@contextmanager
def _nothing() -> Iterator[str]:
    """An empty directory, without a name from the beginning: nothing is left when this process is killed."""
    name = tempfile.mkdtemp(prefix="scratch-")
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.rmdir(name)
        os.fchmod(fd, 0o755)
        yield f"/proc/self/fd/{fd}/."
    finally:
        os.close(fd)


def _rules(action: Copy, owner: Owner | None) -> CopyRules:
    mode = parse_mode(action.mode_str) if action.mode_str else (None if action.mode == -1 else action.mode & 0o7777)
    try:
        include = PatternMatcher(action.include_patterns) if action.include_patterns else None
        exclude = PatternMatcher(action.exclude_patterns) if action.exclude_patterns else None
    except ValueError as error:
        raise InvalidInput(f"invalid patterns of copy {action.src}: {error}") from error
    return CopyRules(
        owner=owner,
        mode=mode,
        time_ns=_time(action.timestamp),
        include=include,
        exclude=exclude,
        contents=action.dir_copy_contents,
        follow=action.follow_symlink,
        replace=action.always_replace_existing_dest_paths,
    )
