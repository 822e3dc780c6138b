"""The exec vertex (client/llb/exec.go)."""

from collections.abc import Sequence
from dataclasses import dataclass

from shared.llb import ops
from shared.llb.caps import Cap
from shared.llb.state_values import Process
from shared.llb.vertices import AnyOutput, Constraints, Context


@dataclass(eq=False, slots=True, kw_only=True)
class TreeMount:
    """A mount of an exec. `source` None = scratch. Compared by identity."""

    target: str
    source: AnyOutput | None = None
    selector: str = ""
    readonly: bool = False
    no_output: bool = False
    cache: ops.CacheOpt | None = None
    tmpfs_size: int | None = None

    @property
    def has_output(self) -> bool:
        return not (self.no_output or self.readonly or self.cache is not None or self.tmpfs_size is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSecret:
    """A secret as a file (`target`) and/or as a variable (`env`)."""

    id: str
    target: str | None
    env: str | None = None
    mode: int = 0o400
    uid: int = 0
    gid: int = 0
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSsh:
    """An agent's socket; "" as target = /run/buildkit/ssh_agent.N."""

    id: str
    target: str = ""
    mode: int = 0o600
    uid: int = 0
    gid: int = 0
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """What an exec has besides its state."""

    mounts: tuple[TreeMount, ...] = ()
    secrets: tuple[RunSecret, ...] = ()
    ssh: tuple[RunSsh, ...] = ()
    devices: tuple[ops.Device, ...] = ()
    proxy_env: ops.ProxyEnv | None = None


class ExecVertex:
    """A process; its root file system is `root`, mounted at /."""

    def __init__(self, root: AnyOutput | None, process: Process, options: RunOptions, constraints: Constraints) -> None:
        self.process = process
        self.options = options
        self.root = TreeMount(target="/", source=root)
        self.mounts = sorted((self.root, *options.mounts), key=lambda m: m.target)
        self.ssh = _targets(options.ssh)
        self.constraints = constraints

    def inputs(self) -> Sequence[AnyOutput]:
        found: dict[int, AnyOutput] = {}
        for mount in self.mounts:
            if mount.source is not None:
                found.setdefault(id(mount.source), mount.source)
        return list(found.values())

    def index_of(self, mount: TreeMount) -> int:
        """The output number of a mount that has one."""
        return [m for m in self.mounts if m.has_output].index(mount)

    def op(self, context: Context) -> ops.Op:
        inputs: list[ops.Input] = []
        mounts = self._mounts(context, inputs)
        self._need_caps(context)
        kind = ops.ExecOp(
            meta=self._meta(),
            mounts=(*mounts, *self._secret_mounts(), *self._ssh_mounts()),
            network=self.process.network,
            security=self.process.security,
            secret_env=tuple(ops.SecretEnv(id=s.id, name=s.env, optional=s.optional) for s in self.options.secrets if s.env is not None),
            devices=self.options.devices,
        )
        platform = self.constraints.platform or self.process.platform or context.platform
        return ops.Op(kind=kind, inputs=tuple(inputs), platform=platform)

    def _meta(self) -> ops.Meta:
        process = self.process
        env = process.env
        if self.ssh and "SSH_AUTH_SOCK" not in env:
            env = {**env, "SSH_AUTH_SOCK": self.ssh[0].target}
        return ops.Meta(
            args=process.args,
            env=tuple(map("=".join, env.items())),
            cwd=process.directory,
            user=process.user,
            proxy_env=self.options.proxy_env,
            extra_hosts=process.extra_hosts,
            hostname=process.hostname,
            ulimits=process.ulimits,
            cgroup_parent=process.cgroup_parent,
            remove_mount_stubs_recursive=True,
            valid_exit_codes=process.valid_exit_codes,
        )

    def _mounts(self, context: Context, inputs: list[ops.Input]) -> list[ops.Mount]:
        mounts: list[ops.Mount] = []
        outputs = 0
        for mount in self.mounts:
            resolved = mount.source.resolve() if mount.source is not None else None
            index = ops.EMPTY
            if resolved is not None:
                item = context.input(resolved)
                if item not in inputs:
                    inputs.append(item)
                index = inputs.index(item)
            mounts.append(_mount(mount, index, outputs if mount.has_output else ops.SKIP))
            outputs += mount.has_output
        return mounts

    def _secret_mounts(self) -> list[ops.Mount]:
        return [
            ops.Mount(
                dest=s.target,
                type=ops.MountType.SECRET,
                secret=ops.FileSecret(id=s.id, uid=s.uid, gid=s.gid, mode=s.mode, optional=s.optional),
            )
            for s in self.options.secrets
            if s.target is not None
        ]

    def _ssh_mounts(self) -> list[ops.Mount]:
        return [
            ops.Mount(
                dest=s.target,
                type=ops.MountType.SSH,
                ssh=ops.FileSecret(id=s.id, uid=s.uid, gid=s.gid, mode=s.mode, optional=s.optional),
            )
            for s in self.ssh
        ]

    def _need_caps(self, context: Context) -> None:
        need, process, options = self.constraints.need, self.process, self.options
        if context.with_caps:
            need(Cap.EXEC_META_SETS_DEFAULT_PATH)
        needed = {
            Cap.EXEC_META_BASE: True,
            Cap.EXEC_VALID_EXIT_CODE: bool(process.valid_exit_codes),
            Cap.EXEC_META_ULIMIT: bool(process.ulimits),
            Cap.EXEC_META_LINUX_RESOURCES: self.constraints.resources is not None,
            Cap.EXEC_META_NETWORK: process.network is not ops.NetMode.SANDBOX,
            Cap.EXEC_META_SECURITY: process.security is not ops.SecurityMode.SANDBOX,
            Cap.EXEC_META_PROXY: options.proxy_env is not None,
            Cap.EXEC_META_CDI: bool(options.devices),
            Cap.EXEC_MOUNT_SECRET: bool(options.secrets),
            Cap.EXEC_SECRET_ENV: any(s.env is not None for s in options.secrets),
            Cap.EXEC_MOUNT_SSH: bool(options.ssh),
        }
        need(*(cap for cap, wanted in needed.items() if wanted))
        for mount in self.mounts:
            need(*_mount_caps(mount))


def _mount_caps(mount: TreeMount) -> list[Cap]:
    caps = [Cap.EXEC_MOUNT_SELECTOR] if mount.selector else []
    if mount.cache is not None:
        return [*caps, Cap.EXEC_MOUNT_CACHE, Cap.EXEC_MOUNT_CACHE_SHARING]
    if mount.tmpfs_size is not None:
        return [*caps, Cap.EXEC_MOUNT_TMPFS, *([Cap.EXEC_MOUNT_TMPFS_SIZE] if mount.tmpfs_size > 0 else [])]
    return [*caps, Cap.EXEC_MOUNT_BIND] if mount.source is not None else caps


def _mount(mount: TreeMount, index: int, output: int) -> ops.Mount:
    kind = ops.MountType.BIND
    if mount.tmpfs_size is not None:
        kind = ops.MountType.TMPFS
    elif mount.cache is not None:
        kind = ops.MountType.CACHE
    return ops.Mount(
        input=index,
        selector=mount.selector,
        dest=mount.target,
        output=output,
        readonly=mount.readonly,
        type=kind,
        tmpfs_size=mount.tmpfs_size,
        cache=mount.cache,
    )


def _targets(ssh: tuple[RunSsh, ...]) -> tuple[RunSsh, ...]:
    return tuple(
        s if s.target else RunSsh(id=s.id, target=f"/run/buildkit/ssh_agent.{n}", mode=s.mode, uid=s.uid, gid=s.gid, optional=s.optional)
        for n, s in enumerate(ssh)
    )
