"""What each mount of an ExecOp needs, and which results the op has (frontend/gateway/container PrepareMounts; reference 03 §3).

Nouns: tree (where the files of a mount come from), planned mount, output. Nothing is opened here.
"""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from typing import TypeAlias

from shared.errors import InvalidInput
from shared.llb import EMPTY, SKIP, FileSecret, Mount, MountType, Sharing

__all__ = ["CacheDir", "Child", "MountPlan", "Output", "Planned", "SecretFile", "SshSocket", "Tmpfs", "Tree", "Whole", "plan_mounts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """The input itself, read only."""

    input: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Child:
    """A new mutable child of the input (None = of scratch). Kept as a result, or thrown away."""

    input: int | None
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheDir:
    """A directory that outlives the step, found by `id` (and the input it began with)."""

    id: str
    sharing: Sharing
    input: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tmpfs:
    size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretFile:
    secret: FileSecret


@dataclass(frozen=True, slots=True, kw_only=True)
class SshSocket:
    ssh: FileSecret


Tree: TypeAlias = Whole | Child | CacheDir | Tmpfs | SecretFile | SshSocket


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """One mount. `index` in the op's list; `dest` absolute and clean; `selector` relative to the tree's root ("" = all of it)."""

    index: int
    dest: str
    tree: Tree
    readonly: bool = False
    selector: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One result: what mount `mount` left behind, or (with `input`) an input as it was."""

    mount: int
    input: int | None = None
    scratch: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MountPlan:
    """`root` is the mount at `/`; `mounts` are the others, parents before children; `outputs` by output index."""

    root: Planned
    readonly_root: bool
    mounts: tuple[Planned, ...]
    outputs: tuple[Output, ...]


def plan_mounts(mounts: tuple[Mount, ...], cwd: str, inputs: tuple[bool, ...]) -> MountPlan:
    """The plan; `inputs[i]` False = that input is scratch. Errors: InvalidInput naming the mount.

    Outputs are counted in the order of mounts. Clients leave output 0 on secret and ssh mounts by accident: those have none.
    """
    planned: list[Planned] = []
    outputs: list[Output] = []
    root: Planned | None = None
    for index, mount in enumerate(mounts):
        at_root = mount.dest == "/"
        if at_root and mount.type is not MountType.BIND:
            raise InvalidInput(f"invalid mount type {mount.type.name} for {mount.dest}")
        entry, output = _plan_one(index, mount, cwd, _source(mount, inputs), at_root)
        if output is not None:
            outputs.append(output)
        if at_root:
            root = entry
        else:
            planned.append(entry)
    if root is None:
        raise InvalidInput("invalid exec op with no rootfs")
    readonly = mounts[root.index].readonly
    return MountPlan(root=root, readonly_root=readonly, mounts=tuple(sorted(planned, key=lambda p: p.dest)), outputs=tuple(outputs))


def _source(mount: Mount, inputs: tuple[bool, ...]) -> int | None:
    """The input's index, None when it is scratch."""
    if mount.input == EMPTY:
        return None
    if not 0 <= mount.input < len(inputs):
        raise InvalidInput(f"missing input {mount.input} of mount {mount.dest}")
    return mount.input if inputs[mount.input] else None


def _plan_one(index: int, mount: Mount, cwd: str, source: int | None, at_root: bool) -> tuple[Planned, Output | None]:
    output: Output | None = None
    tree: Tree
    match mount.type:
        case MountType.BIND:
            tree, output = _plan_bind(index, mount, source, at_root)
        case MountType.CACHE:
            if mount.cache is None:
                raise InvalidInput(f"missing cache mount options of {mount.dest}")
            tree = CacheDir(id=mount.cache.id, sharing=mount.cache.sharing, input=source)
            if mount.output != SKIP and mount.input != EMPTY:
                output = Output(mount=index, input=source, scratch=source is None)
        case MountType.TMPFS:
            tree = Tmpfs(size=mount.tmpfs_size)
        case MountType.SECRET:
            tree = SecretFile(secret=_required(mount.secret, mount, "secret"))
        case MountType.SSH:
            tree = SshSocket(ssh=mount.ssh or FileSecret(id="default"))
    dest = "/" if at_root else _absolute(mount.dest, cwd)
    return Planned(index=index, dest=dest, tree=tree, readonly=mount.readonly, selector=_selector(mount.selector)), output


def _plan_bind(index: int, mount: Mount, source: int | None, at_root: bool) -> tuple[Tree, Output | None]:
    if mount.output != SKIP:
        if mount.readonly and source is not None and not at_root:
            return Whole(input=source), Output(mount=index, input=source)
        return Child(input=source, kept=True), Output(mount=index)
    if at_root or not mount.readonly or source is None:
        # Also a read-only root gets a throw-away child: the runtime has to create mount points in it.
        return Child(input=source, kept=False), None
    return Whole(input=source), None


def _required(secret: FileSecret | None, mount: Mount, what: str) -> FileSecret:
    if secret is None or not secret.id:
        raise InvalidInput(f"invalid {what} mount {mount.dest}: id is missing")
    return secret


def _absolute(dest: str, cwd: str) -> str:
    clean = posixpath.normpath(posixpath.join("/", cwd, dest))
    clean = "/" + clean.lstrip("/")
    if clean == "/":
        raise InvalidInput(f"invalid mount destination {dest!r}")
    return clean


def _selector(selector: str) -> str:
    return posixpath.normpath("/" + selector).lstrip("/")
