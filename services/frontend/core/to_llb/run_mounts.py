"""RUN --mount (dockerfile2llb/convert_runmount.go, convert_secrets.go, convert_ssh.go)."""

from dataclasses import dataclass, field

from services.frontend.core.dockerfile.commands import Run
from services.frontend.core.dockerfile.mounts import Mount, MountType
from services.frontend.core.dockerfile.mounts import Sharing as SharingWord
from services.frontend.core.failure import DockerfileError, Location
from services.frontend.core.to_llb.outline_capture import Needed
from services.frontend.core.to_llb.setting import Setting
from services.frontend.core.to_llb.stage_state import StageState, used_path
from shared.llb import (
    CacheOpt,
    Chown,
    Constraints,
    FileStep,
    MkDir,
    Owner,
    RunSecret,
    RunSsh,
    Sharing,
    State,
    TreeMount,
    base_path,
    clean_path,
    is_absolute,
    join_path,
)
from shared.llb.go_text import quote

_SHARING = {
    None: Sharing.SHARED,
    SharingWord.SHARED: Sharing.SHARED,
    SharingWord.PRIVATE: Sharing.PRIVATE,
    SharingWord.LOCKED: Sharing.LOCKED,
}


@dataclass(slots=True, kw_only=True)
class Mounts:
    trees: list[TreeMount] = field(default_factory=list)
    secrets: list[RunSecret] = field(default_factory=list)
    ssh: list[RunSsh] = field(default_factory=list)


def collect_mounts(stage: StageState, command: Run, sources: list[StageState], setting: Setting) -> Mounts:
    """All mounts of a RUN. Raises DockerfileError, without the place."""
    mounts = Mounts()
    for mount, source in zip(command.mounts, sources, strict=True):
        from_stage = mount.source_stage or ("scratch" if mount.type is MountType.CACHE else "")
        if from_stage and not source.dispatched:
            raise DockerfileError(
                f"cannot mount from stage {quote(from_stage)} to {quote(mount.target)}, stage needs to be defined before current command"
            )
        match mount.type:
            case MountType.SECRET:
                mounts.secrets.append(_secret(stage, mount, command.location))
            case MountType.SSH:
                mounts.ssh.append(_ssh(stage, mount, command.location))
            case _:
                tree = source.state if from_stage else setting.build_context
                mounts.trees.append(_tree(stage, mount, tree, setting))
                used = source.paths if from_stage else stage.context_paths
                used[used_path(mount.source)] = None
    return mounts


def _tree(stage: StageState, mount: Mount, tree: State, setting: Setting) -> TreeMount:
    target = mount.target
    if not is_absolute(clean_path(target)):
        target = join_path("/", stage.state.directory, target)
    if target == "/":
        raise DockerfileError(f"invalid mount target {quote(target)}")
    selector = used_path(mount.source)
    if selector == "/":
        selector = ""
        if (mount.uid, mount.gid, mount.mode) != (None, None, None):
            tree, selector = _with_cache_dir(mount, tree), "/cache"
    is_tmpfs = mount.type is MountType.TMPFS
    return TreeMount(
        target=target,
        source=None if is_tmpfs else tree.output,
        selector=selector,
        readonly=mount.read_only,
        no_output=not mount.read_only and mount.type is MountType.BIND,
        cache=_cache(mount, setting) if mount.type is MountType.CACHE else None,
        tmpfs_size=mount.size if is_tmpfs else None,
    )


def _cache(mount: Mount, setting: Setting) -> CacheOpt:
    key = mount.id or clean_path(mount.target)
    return CacheOpt(id=f"{setting.options.cache_namespace}/{key}", sharing=_SHARING[mount.sharing])


def _with_cache_dir(mount: Mount, tree: State) -> State:
    """The tree with a directory /cache of the wanted owner and mode."""
    owner = Chown(user=Owner(id=mount.uid or 0), group=Owner(id=mount.gid or 0))
    mode = 0o755 if mount.mode is None else mount.mode & 0o777
    constraints = Constraints(description={"llb.customname": "[internal] setting cache mount permissions"})
    return tree.file([FileStep(action=MkDir(path="/cache", mode=mode, owner=owner))], constraints)


def _secret(stage: StageState, mount: Mount, location: Location) -> RunSecret:
    secret_id = mount.source or mount.id or base_path(mount.target)
    target: str | None = mount.target or None
    if mount.env is None:
        target = mount.target or "/run/secrets/" + base_path(secret_id)
    stage.outline.secrets.setdefault(secret_id, Needed(location=location, required=mount.required))
    custom = (mount.uid, mount.gid, mount.mode) != (None, None, None)
    return RunSecret(
        id=secret_id,
        target=target,
        env=mount.env,
        optional=not mount.required,
        uid=mount.uid or 0,
        gid=mount.gid or 0,
        mode=mount.mode if custom and mount.mode is not None else 0o400,
    )


def _ssh(stage: StageState, mount: Mount, location: Location) -> RunSsh:
    if mount.source:
        raise DockerfileError("ssh does not support source")
    stage.outline.ssh.setdefault(mount.id or "default", Needed(location=location, required=mount.required))
    return RunSsh(
        id=mount.id,
        target=mount.target,
        optional=not mount.required,
        uid=mount.uid or 0,
        gid=mount.gid or 0,
        mode=0o600 if mount.mode is None else mount.mode,
    )
