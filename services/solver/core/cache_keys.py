"""Cache maps of ops, digest by digest as BuildKit computes them, so that caches made by one hit in the other.

BuildKit: solver/llbsolver/ops/{exec,file,merge,diff,build,passthrough}.go, solver/pb/json.go. The maps of sources come from
whoever resolves them. What is not in a key: names, descriptions, resources, proxy settings, IPs of extra hosts.
"""

import hashlib
import posixpath
from collections.abc import Iterable
from dataclasses import replace

from services.solver.core.go_json import fields, go_json, pointer
from services.solver.core.vertex import CacheMap, ContentSelector, Digest, InputRule
from shared.errors import InvalidInput
from shared.llb import (
    EMPTY,
    SKIP,
    BuildOp,
    CacheOpt,
    Chown,
    ContentCache,
    Copy,
    DiffOp,
    ExecOp,
    FileOp,
    FileSecret,
    MergeOp,
    Meta,
    MkDir,
    MkFile,
    Mount,
    MountType,
    Op,
    Owner,
    PassthroughOp,
    Rm,
    Sharing,
    Symlink,
)
from shared.llb import Action as FileActionKind
from shared.model import Platform

Selectors = dict[int, list[ContentSelector]]


def cache_map(op: Op, platform: Platform) -> CacheMap:
    """The one cache map of an op that is no source. `platform` is the op's, normalized, or the default one."""
    match op.kind:
        case ExecOp():
            return _exec_map(op.kind, len(op.inputs), platform)
        case FileOp():
            return _file_map(op.kind, len(op.inputs))
        case MergeOp():
            body = pointer(fields(inputs=tuple(pointer(fields(input=i)) for i in op.kind.inputs)))
            return _plain_map("buildkit.merge.v0", "Merge", body, len(op.inputs))
        case DiffOp():
            sides = (pointer(fields(input=i)) for i in (op.kind.lower, op.kind.upper))
            body = pointer(fields(lower=next(sides), upper=next(sides)))
            return _plain_map("buildkit.diff.v0", "Diff", body, len(op.inputs))
        case PassthroughOp():
            body = pointer(fields(id=op.kind.id, outputs=op.kind.outputs))
            return _plain_map("buildkit.passthrough.v0", "Passthrough", body, len(op.inputs))
        case BuildOp():
            return _plain_map("buildkit.build.v0", "Exec", _build_json(op.kind), len(op.inputs))
        case _:
            raise AssertionError(f"no cache map for {type(op.kind).__name__}")


def _sha(data: bytes) -> Digest:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def _plain_map(type_name: str, field: str, body: pointer, inputs: int) -> CacheMap:
    return CacheMap(digest=_sha(go_json({"Type": type_name, field: body})), inputs=(InputRule(),) * inputs)


def _build_json(op: BuildOp) -> pointer:
    inputs = {name: pointer(fields(input=index)) for name, index in op.inputs.items()}
    return pointer(fields(builder=op.builder, inputs=inputs, **{"def": op.definition}, attrs=op.attrs))


# --- exec


def _exec_map(op: ExecOp, inputs: int, platform: Platform) -> CacheMap:
    mounts = tuple(_normal_mount(m) for m in op.mounts)
    if len(mounts) == 1 and _is_plain_root(mounts[0]):
        mounts = ()  # older versions left mounts out; the common case still does
    body = pointer(
        fields(
            meta=_meta_json(op.meta),
            mounts=tuple(_mount_json(m) for m in mounts),
            network=int(op.network),
            security=int(op.security),
            secretenv=tuple(pointer(fields(ID=s.id, name=s.name, optional=s.optional)) for s in op.secret_env),
            cdiDevices=tuple(pointer(fields(name=d.name, optional=d.optional)) for d in op.devices),
        )
    )
    document = {"Type": "buildkit.exec.v0", "Exec": body, "OS": platform.os, "Arch": platform.architecture}
    document |= fields(Variant=platform.variant, OSVersion=platform.os_version, OSFeatures=platform.os_features)
    return CacheMap(digest=_sha(go_json(document)), inputs=tuple(_exec_rules(op, inputs)))


def _normal_mount(mount: Mount) -> Mount:
    """Without what differs between builds that do the same: the selector counts as a link, a cache's id is only a name."""
    if mount.cache is not None and not _is_default_cache(mount, mount.cache):
        mount = replace(mount, cache=CacheOpt(id="", sharing=Sharing.SHARED))
    return replace(mount, selector="")


def _is_default_cache(mount: Mount, cache: CacheOpt) -> bool:
    _, slash, rest = cache.id.partition("/")
    named_by_place = cache.id == mount.dest or (slash != "" and rest == mount.dest)
    return named_by_place and cache.sharing == Sharing.SHARED


def _is_plain_root(m: Mount) -> bool:
    special = m.readonly or m.type != MountType.BIND or m.cache or m.ssh or m.secret or m.result_id
    return m.dest == "/" and not special


def _meta_json(meta: Meta) -> pointer:
    return pointer(
        fields(
            args=meta.args,
            env=meta.env,
            cwd=meta.cwd,
            user=meta.user,
            extraHosts=tuple(pointer(fields(Host=h.host)) for h in meta.extra_hosts),
            hostname=meta.hostname,
            ulimit=tuple(pointer(fields(Name=u.name, Soft=u.soft, Hard=u.hard)) for u in meta.ulimits),
            cgroupParent=meta.cgroup_parent,
            removeMountStubsRecursive=meta.remove_mount_stubs_recursive,
            validExitCodes=meta.valid_exit_codes,
        )
    )


def _mount_json(m: Mount) -> pointer:
    return pointer(
        fields(
            input=m.input,
            selector=m.selector,
            dest=m.dest,
            output=m.output,
            readonly=m.readonly,
            mountType=int(m.type),
            TmpfsOpt=None if m.tmpfs_size is None else pointer(fields(size=m.tmpfs_size)),
            cacheOpt=None if m.cache is None else pointer(fields(ID=m.cache.id, sharing=int(m.cache.sharing))),
            secretOpt=_secret_json(m.secret),
            SSHOpt=_secret_json(m.ssh),
            resultID=m.result_id,
            contentCache=int(m.content_cache),
        )
    )


def _secret_json(secret: FileSecret | None) -> pointer | None:
    if secret is None:
        return None
    return pointer(fields(ID=secret.id, uid=secret.uid, gid=secret.gid, mode=secret.mode, optional=secret.optional))


def _exec_rules(op: ExecOp, inputs: int) -> Iterable[InputRule]:
    paths: list[list[str]] = [[] for _ in range(inputs)]
    by_content = [False] * inputs
    for mount in op.mounts:
        if mount.type in (MountType.SECRET, MountType.SSH, MountType.TMPFS) or mount.input == EMPTY:
            continue
        if not 0 <= mount.input < inputs:
            raise InvalidInput(f"invalid mountinput {mount.input} at {mount.dest}")
        path = _absolute(mount.selector)
        paths[mount.input].append(path)
        by_content[mount.input] = _counts_by_content(mount, path)
    for selected, content in zip(paths, by_content, strict=True):
        selector = _sha("\0".join(selected).encode()) if selected else ""
        yield InputRule(selector=selector, content=_exec_content(selected) if content else None)


def _absolute(path: str) -> str:
    return posixpath.normpath("/" + path.lstrip("/"))


def _counts_by_content(mount: Mount, path: str) -> bool:
    """Safe only where nothing outside of the selected path can get into a later result."""
    safe = mount.output == SKIP or mount.readonly or path == "/"
    match mount.content_cache:
        case ContentCache.OFF:
            return False
        case ContentCache.ON:
            if not safe:
                raise InvalidInput(f"invalid mount cache content at {mount.dest}")
            return True
        case ContentCache.DEFAULT:
            return safe and mount.dest != "/"  # hashing a whole root costs more than it saves


def _exec_content(paths: list[str]) -> tuple[ContentSelector, ...]:
    selected = _outermost(paths)
    if "/" in selected:
        return ()
    return tuple(ContentSelector(path=p, follow_links=True) for p in selected)


def _outermost(paths: Iterable[str]) -> list[str]:
    """Without repetitions and without paths below another one, sorted. A single path is taken as it is."""
    unique = dict.fromkeys(paths)
    return sorted(p for p in unique if not any(p != q and p.startswith(q if q.endswith("/") else q + "/") for q in unique))


# --- file


def _file_map(op: FileOp, inputs: int) -> CacheMap:
    selectors: Selectors = {}
    primary: set[int] = set()
    actions: list[bytes] = []
    indexes: list[list[int]] = []
    for action in op.actions:
        if action.input != EMPTY:
            primary.add(action.input)
        kind = action.action
        if not isinstance(kind, Rm | Symlink):
            _select_owner_files(kind.owner, selectors)
        if isinstance(kind, Copy) and 0 <= action.secondary_input < inputs:
            selectors.setdefault(action.secondary_input, []).append(_copy_selector(kind))
            kind = replace(kind, src=_base_name(kind.src))
        actions.append(go_json(_action_json(kind)))
        indexes.append([action.input, action.secondary_input, action.output])
    document = {"Type": "buildkit.file.v0", "Actions": actions}
    if not _is_simple_chain(indexes):
        document["indexes"] = indexes
    for index in selectors:
        if not 0 <= index < inputs:
            raise InvalidInput(f"invalid input index {index} in file op with {inputs} inputs")
    rules = tuple(InputRule() if i in primary or i not in selectors else _file_rule(selectors[i]) for i in range(inputs))
    return CacheMap(digest=_sha(go_json(document)), inputs=rules)


def _base_name(path: str) -> str:
    """Go's path.Base."""
    stripped = path.rstrip("/")
    if not stripped:
        return "/" if path else "."
    return stripped.rpartition("/")[2]


def _copy_selector(copy: Copy) -> ContentSelector:
    return ContentSelector(
        path=copy.src,
        wildcard=copy.allow_wildcard and _has_wildcard(copy.src),
        follow_links=copy.follow_symlink,
        include=copy.include_patterns,
        exclude=copy.exclude_patterns,
        required=copy.required_paths,
    )


def _has_wildcard(name: str) -> bool:
    escaped = False
    for character in name:
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character in "*?[":
            return True
    return False


def _select_owner_files(owner: Chown | None, selectors: Selectors) -> None:
    """A named owner depends on the tree in which the name is looked up."""
    if owner is None:
        return
    for side, path in ((owner.user, "/etc/passwd"), (owner.group, "/etc/group")):
        if side is not None and side.name:
            if side.input < 0:
                raise InvalidInput(f"invalid user index {side.input}")
            selectors.setdefault(side.input, []).append(ContentSelector(path=path, follow_links=True))


def _file_rule(selected: list[ContentSelector]) -> InputRule:
    names = sorted((s.path.encode() for s in selected), reverse=True)
    plain = _outermost(s.path for s in selected if not s.filtered and not s.follow_links)
    followed = _outermost(s.path for s in selected if not s.filtered and s.follow_links)
    content = [ContentSelector(path=p) for p in plain]
    content += [ContentSelector(path=p, follow_links=True) for p in followed]
    content += [s for s in selected if s.filtered]
    return InputRule(selector=_sha(b"\0".join(names)), content=tuple(sorted(content, key=lambda s: s.path)))


def _is_simple_chain(indexes: list[list[int]]) -> bool:
    """Each action works on the one before, at most input 1 is read besides, the last gives output 0: then indexes are left out."""
    if not indexes:
        return False
    for i, (primary, secondary, output) in enumerate(indexes):
        last = i == len(indexes) - 1
        expected = 0 if i == 0 else len(indexes) + i - 1
        if primary != expected or secondary not in (-1, 1) or output != (0 if last else -1):
            return False
    return True


def _action_json(kind: FileActionKind) -> pointer:
    match kind:
        case Copy():
            return _copy_json(kind)
        case MkFile():
            return pointer(fields(path=kind.path, mode=kind.mode, data=kind.data, owner=_chown_json(kind.owner), timestamp=kind.timestamp))
        case MkDir():
            return pointer(
                fields(
                    path=kind.path,
                    mode=kind.mode,
                    makeParents=kind.make_parents,
                    owner=_chown_json(kind.owner),
                    timestamp=kind.timestamp,
                )
            )
        case Symlink():
            return pointer(fields(oldpath=kind.oldpath, newpath=kind.newpath, owner=_chown_json(kind.owner), timestamp=kind.timestamp))
        case Rm():
            return pointer(fields(path=kind.path, allowNotFound=kind.allow_not_found, allowWildcard=kind.allow_wildcard))


def _copy_json(copy: Copy) -> pointer:
    return pointer(
        fields(
            src=copy.src,
            dest=copy.dest,
            owner=_chown_json(copy.owner),
            mode=copy.mode,
            followSymlink=copy.follow_symlink,
            dirCopyContents=copy.dir_copy_contents,
            attemptUnpackDockerCompatibility=copy.attempt_unpack,
            createDestPath=copy.create_dest_path,
            allowWildcard=copy.allow_wildcard,
            allowEmptyWildcard=copy.allow_empty_wildcard,
            timestamp=copy.timestamp,
            include_patterns=copy.include_patterns,
            exclude_patterns=copy.exclude_patterns,
            alwaysReplaceExistingDestPaths=copy.always_replace_existing_dest_paths,
            modeStr=copy.mode_str,
            required_paths=copy.required_paths,
        )
    )


def _chown_json(chown: Chown | None) -> pointer | None:
    if chown is None:
        return None
    return pointer(fields(user=_owner_json(chown.user), group=_owner_json(chown.group)))


def _owner_json(owner: Owner | None) -> pointer | None:
    if owner is None:
        return None
    named = None if not owner.name else pointer(fields(name=owner.name, input=owner.input))
    return pointer({"User": fields(byName=named, byId=0 if owner.name else owner.id)})
