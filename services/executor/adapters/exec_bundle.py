"""The bundle of one step: its trees mounted, its files written, `config.json`; and all of it taken down again.

Blocking, one thread at a time. Everything that has to be undone stands in one ExitStack.
"""

from __future__ import annotations

import json
import logging
import os
import stat
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.executor.adapters import syscalls
from services.executor.adapters.cdi_specs import look_at_node
from services.executor.adapters.container_files import ContainerFiles
from services.executor.adapters.rooted import Rooted, go_error
from services.executor.adapters.stubs import Stubs, find_stubs, remove_stubs
from services.executor.core.cdi import HostDevice, inject
from services.executor.core.mounts import CacheDir, Child, MountPlan, Planned, SecretFile, SshSocket, Tmpfs, Whole
from services.executor.core.owners import MAX_USER_FILE, needs_files, process_user
from services.executor.core.spec import Host, ProcessUser, SpecMount, Surroundings, container_env, runtime_spec
from services.executor.ports import SnapshotStore
from shared.errors import BuildFailed, InvalidInput
from shared.llb import ExecOp, NetMode
from shared.llb.definition import Resources

__all__ = ["Bundle", "Bundles", "Given", "user_in"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """What was found out before: by mount index, secrets' values, agent sockets and cache directories. Missing = leave the mount out."""

    id: str
    lease: str
    inputs: tuple[str | None, ...]
    secrets: Mapping[int, bytes]
    sockets: Mapping[int, str]
    caches: Mapping[int, str]
    secret_env: tuple[str, ...]
    netns: str | None
    resources: Resources | None
    emulator: str = ""
    devices: Sequence[HostDevice] = ()
    folders: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict)  # read only, by destination: small files by name


@dataclass(slots=True, kw_only=True)
class Bundle:
    """A bundle being made or used. By mount index: `children` = mutable snapshots made for it, `trees` = where files can be seen."""

    path: Path
    stack: ExitStack = field(default_factory=ExitStack)
    children: dict[int, str] = field(default_factory=dict)
    spec: dict[str, Any] = field(default_factory=dict)
    root: str = ""
    trees: dict[int, str] = field(default_factory=dict)
    mounts: list[SpecMount] = field(default_factory=list)
    stubs: Stubs | None = None


class Bundles:
    """Makes bundles below one directory."""

    def __init__(self, *, root: Path, store: SnapshotStore, files: ContainerFiles, host: Host, cgroup_parent: str) -> None:
        self._root, self._store, self._files, self._host, self._cgroup_parent = root, store, files, host, cgroup_parent
        root.mkdir(mode=0o711, parents=True, exist_ok=True)
        for left in root.iterdir():
            _remove_bundle(left)

    def new(self, id: str) -> Bundle:
        """A bundle that holds nothing yet."""
        return Bundle(path=self._root / id)

    def fill(self, bundle: Bundle, op: ExecOp, plan: MountPlan, given: Given) -> None:
        """Mount and write everything. Whatever happens, `take_down` has to be called afterwards."""
        self.mount(bundle, op, plan, given, private=bool(given.secret_env))
        self.configure(bundle, op, plan, given)

    def mount(self, bundle: Bundle, op: ExecOp, plan: MountPlan, given: Given, *, private: bool) -> None:
        """The trees. `private`: config.json will hold values of secrets."""
        bundle.path.mkdir(mode=0o711)
        bundle.stack.callback(_remove_bundle, bundle.path)
        if private:
            _tmpfs(bundle, bundle.path, 4 << 20)
        bundle.trees[plan.root.index] = bundle.root = self._tree(bundle, op, plan.root, given)
        for planned in plan.mounts:
            if (mount := self._mount(bundle, op, planned, given)) is not None:
                bundle.mounts.append(mount)
        for destination, files in given.folders.items():
            bundle.mounts.append(_folder(bundle, destination, files))
        if given.emulator:
            bundle.mounts.append(_bind("/dev/.buildkit_qemu_emulator", given.emulator, readonly=True))

    def configure(self, bundle: Bundle, op: ExecOp, plan: MountPlan, given: Given, *, terminal: bool = False) -> None:
        """The process: what has to be in the tree for it, and config.json."""
        with Rooted(bundle.root) as root:
            bundle.stubs = find_stubs(root, [m.destination for m in bundle.mounts], recursive=op.meta.remove_mount_stubs_recursive)
            user = _user(root, op.meta.user)
            _working_directory(root, op.meta.cwd, user)
        around = Surroundings(
            id=given.id,
            root=bundle.root,
            readonly_root=plan.readonly_root,
            hosts=self._files.hosts(op.meta),
            resolv_conf=self._files.resolv_conf(host_network=op.network is NetMode.HOST),
            netns=given.netns,
            mounts=tuple(bundle.mounts),
            cgroup_parent=self._cgroup_parent,
            terminal=terminal,
            env=container_env(op.meta, given.secret_env),
        )
        bundle.spec = runtime_spec(op.meta, around, self._host, user=user, security=op.security, resources=given.resources)
        if given.emulator:
            bundle.spec["process"]["args"].insert(0, "/dev/.buildkit_qemu_emulator")
        inject(bundle.spec, given.devices, look_at_node)
        _write_config(bundle.path, bundle.spec)

    def take_down(self, bundle: Bundle) -> None:
        """Remove mount stubs, unmount, delete the bundle. The children stay. Idempotent."""
        stubs, bundle.stubs = bundle.stubs, None
        try:
            if stubs is not None:
                with Rooted(bundle.root) as root:
                    remove_stubs(root, stubs)
        finally:
            bundle.stack.close()

    # --- mounts ---------------------------------------------------------------------------------------------------------------

    def _mount(self, bundle: Bundle, op: ExecOp, planned: Planned, given: Given) -> SpecMount | None:
        match planned.tree:
            case Tmpfs(size=size):
                options = ("nosuid", *((f"size={size}",) if size else ()), *(("ro",) if planned.readonly else ()))
                return SpecMount(destination=planned.dest, type="tmpfs", source="tmpfs", options=options)
            case SecretFile(secret=secret):
                if planned.index not in given.secrets:
                    return None
                path = self._secret(bundle, planned.index, given.secrets[planned.index], secret.mode & 0o777, secret.uid, secret.gid)
                noexec = () if secret.mode & 0o111 else ("noexec",)
                return SpecMount(destination=planned.dest, type="bind", source=path, options=("ro", "rbind", "nodev", "nosuid", *noexec))
            case SshSocket():
                path = given.sockets.get(planned.index, "")
                return _bind(planned.dest, path, readonly=False) if path else None
            case _:
                path = self._tree(bundle, op, planned, given)
                bundle.trees[planned.index] = path
                if planned.selector:
                    path = _select(bundle, path, planned)
                return _bind(planned.dest, path, readonly=planned.readonly)

    def _tree(self, bundle: Bundle, op: ExecOp, planned: Planned, given: Given) -> str:
        match planned.tree:
            case Whole(input=number):
                id = given.inputs[number]
                assert id is not None, "the plan gives scratch a child"
                return bundle.stack.enter_context(self._store.mount(id))
            case Child(input=source):
                description = f"mount {planned.dest} from exec {' '.join(op.meta.args)}"
                parent = None if source is None else given.inputs[source]
                child = self._store.prepare(parent, description=description, lease=given.lease)
                bundle.children[planned.index] = child.id
                return bundle.stack.enter_context(self._store.mount(child.id, writable=True))
            case CacheDir():
                return bundle.stack.enter_context(self._store.mount(given.caches[planned.index], writable=True))
            case _:
                raise AssertionError(f"not a tree: {planned.tree}")

    def _secret(self, bundle: Bundle, index: int, value: bytes, mode: int, uid: int, gid: int) -> str:
        """A file in a tmpfs of this step: it never touches a disk."""
        directory = bundle.path / f"secret-{index}"
        directory.mkdir(mode=0o711)
        _tmpfs(bundle, directory, len(value) + 8192)
        path = directory / "value"
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with open(fd, "wb") as file:
            file.write(value)
            os.fchown(fd, uid, gid)
            os.fchmod(fd, mode)
        return str(path)


def _remove_bundle(path: Path) -> None:
    """Never recursive: were something still mounted in it, that would be emptied."""
    for entry in list(path.iterdir()):
        try:
            if entry.is_dir():
                entry.rmdir()
            else:
                entry.unlink()
        except OSError as error:
            _log.warning("can't remove %s: %s", entry, error.strerror)
            return
    path.rmdir()


def _tmpfs(bundle: Bundle, directory: Path, size: int) -> None:
    flags = syscalls.MountFlag.NOSUID | syscalls.MountFlag.NODEV
    try:
        syscalls.mount("tmpfs", str(directory), "tmpfs", flags, f"size={size},mode=711,noswap")
    except OSError:  # noswap needs Linux 6.4
        syscalls.mount("tmpfs", str(directory), "tmpfs", flags, f"size={size},mode=711")
    bundle.stack.callback(syscalls.detach, str(directory))


def _folder(bundle: Bundle, destination: str, files: Mapping[str, bytes]) -> SpecMount:
    directory = bundle.path / f"folder-{len(bundle.mounts)}"
    directory.mkdir(mode=0o755)
    _tmpfs(bundle, directory, sum(map(len, files.values())) + (len(files) << 13) + (64 << 10))
    for name, data in files.items():
        fd = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o444)
        with open(fd, "wb") as file:
            file.write(data)
    return SpecMount(destination=destination, type="bind", source=str(directory), options=("rbind", "ro", "nosuid", "nodev", "noexec"))


def _bind(destination: str, source: str, *, readonly: bool) -> SpecMount:
    return SpecMount(destination=destination, type="bind", source=source, options=("rbind", "ro" if readonly else "rw"))


def _select(bundle: Bundle, path: str, planned: Planned) -> str:
    """A mount of the selected part of a tree.

    It is opened inside the tree, and what was opened is mounted: a process that shares the tree (a cache mount) can't swap a
    symlink in between (CVE-2024-23651).
    """
    target = bundle.path / f"part-{planned.index}"
    try:
        with Rooted(path) as root, root.find(planned.selector) as spot:
            fd = os.open(spot.name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=spot.parent)
    except OSError as error:
        raise go_error("open", planned.selector, error) from error
    try:
        kind = os.fstat(fd).st_mode
        if stat.S_ISLNK(kind):
            raise InvalidInput(f"invalid selector {planned.selector!r} of mount {planned.dest}")
        if stat.S_ISDIR(kind):
            target.mkdir()
        else:
            target.touch()
        syscalls.bind(f"/proc/self/fd/{fd}", str(target))
    finally:
        os.close(fd)
    bundle.stack.callback(syscalls.detach, str(target))
    return str(target)


def user_in(tree: str, name: str) -> ProcessUser:
    """The ids of a user by the tree's own files. Raises BuildFailed for one that is not there."""
    with Rooted(tree) as root:
        return _user(root, name)


def _user(root: Rooted, name: str) -> ProcessUser:
    if name and not needs_files(name):
        return process_user(name, None, None)
    try:
        return process_user(name, _user_file(root, "/etc/passwd"), _user_file(root, "/etc/group"))
    except BuildFailed:
        if name:
            raise
        return ProcessUser()


def _user_file(root: Rooted, path: str) -> bytes | None:
    try:
        return root.read(path, MAX_USER_FILE)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise go_error("open", path, error) from error


def _working_directory(root: Rooted, cwd: str, user: ProcessUser) -> None:
    try:
        with root.find(cwd or "/") as spot:
            exists = spot.info is not None
        if not exists:
            root.make_dirs(cwd, 0o755, owner=(user.uid, user.gid))
    except OSError as error:
        raise BuildFailed(f"failed to create working directory {cwd}: {(error.strerror or '').lower()}") from error


def _write_config(bundle: Path, spec: dict[str, Any]) -> None:
    data = json.dumps(spec, ensure_ascii=False).encode("utf-8", "surrogateescape")
    fd = os.open(bundle / "config.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # it may hold secret variables
    with open(fd, "wb") as file:
        file.write(data)
