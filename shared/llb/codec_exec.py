"""pb.ExecOp ↔ ExecOp."""

from enum import IntEnum
from typing import TypeVar

from shared.errors import InvalidInput
from shared.llb import ops
from shared.pb import ops_pb2 as pb

_E = TypeVar("_E", bound=IntEnum)


def known(kind: type[_E], value: int, what: str) -> _E:
    """The enum member. Raises InvalidInput for a number without a meaning."""
    found = kind._value2member_map_.get(value)  # a call of the class costs three times as much
    if found is None:
        raise InvalidInput(f"invalid exec op: invalid {what} {value}")
    return found  # type: ignore[return-value]


def exec_to_pb(op: ops.ExecOp, message: pb.ExecOp) -> None:
    _meta_to_pb(op.meta, message.meta)
    for mount in op.mounts:
        _mount_to_pb(mount, message.mounts.add())
    message.network = int(op.network)  # type: ignore[assignment]
    message.security = int(op.security)  # type: ignore[assignment]
    for secret in op.secret_env:
        message.secretenv.add(ID=secret.id, name=secret.name, optional=secret.optional)
    for device in op.devices:
        message.cdiDevices.add(name=device.name, optional=device.optional)


def _meta_to_pb(meta: ops.Meta, message: pb.Meta) -> None:
    message.SetInParent()
    message.args.extend(meta.args)
    message.env.extend(meta.env)
    message.cwd = meta.cwd
    message.user = meta.user
    if (proxy := meta.proxy_env) is not None:
        message.proxy_env.SetInParent()
        message.proxy_env.http_proxy = proxy.http
        message.proxy_env.https_proxy = proxy.https
        message.proxy_env.ftp_proxy = proxy.ftp
        message.proxy_env.no_proxy = proxy.no
        message.proxy_env.all_proxy = proxy.all
    for host in meta.extra_hosts:
        message.extraHosts.add(Host=host.host, IP=host.ip)
    message.hostname = meta.hostname
    for limit in meta.ulimits:
        message.ulimit.add(Name=limit.name, Soft=limit.soft, Hard=limit.hard)
    message.cgroupParent = meta.cgroup_parent
    message.removeMountStubsRecursive = meta.remove_mount_stubs_recursive
    message.validExitCodes.extend(meta.valid_exit_codes)


def _mount_to_pb(mount: ops.Mount, message: pb.Mount) -> None:
    message.input = mount.input
    message.selector = mount.selector
    message.dest = mount.dest
    message.output = mount.output
    message.readonly = mount.readonly
    message.mountType = int(mount.type)  # type: ignore[assignment]
    if mount.tmpfs_size is not None:
        message.TmpfsOpt.SetInParent()
        message.TmpfsOpt.size = mount.tmpfs_size
    if mount.cache is not None:
        message.cacheOpt.SetInParent()
        message.cacheOpt.ID = mount.cache.id
        message.cacheOpt.sharing = int(mount.cache.sharing)  # type: ignore[assignment]
    if mount.secret is not None:
        _secret_to_pb(mount.secret, message.secretOpt)
    if mount.ssh is not None:
        _secret_to_pb(mount.ssh, message.SSHOpt)
    message.resultID = mount.result_id
    message.contentCache = int(mount.content_cache)  # type: ignore[assignment]


def _secret_to_pb(secret: ops.FileSecret, message: pb.SecretOpt | pb.SSHOpt) -> None:
    message.SetInParent()
    message.ID = secret.id
    message.uid = secret.uid
    message.gid = secret.gid
    message.mode = secret.mode
    message.optional = secret.optional


def exec_from_pb(message: pb.ExecOp) -> ops.ExecOp:
    """Raises InvalidInput when there is no meta, or an enum value is unknown."""
    if not message.HasField("meta"):
        raise InvalidInput("invalid exec op with no meta")
    return ops.ExecOp(
        meta=_meta_from_pb(message.meta),
        mounts=tuple(_mount_from_pb(m) for m in message.mounts),
        network=known(ops.NetMode, message.network, "network mode"),
        security=known(ops.SecurityMode, message.security, "security mode"),
        secret_env=tuple(ops.SecretEnv(id=s.ID, name=s.name, optional=s.optional) for s in message.secretenv),
        devices=tuple(ops.Device(name=d.name, optional=d.optional) for d in message.cdiDevices),
    )


def _meta_from_pb(message: pb.Meta) -> ops.Meta:
    proxy = message.proxy_env
    return ops.Meta(
        args=tuple(message.args),
        env=tuple(message.env),
        cwd=message.cwd,
        user=message.user,
        proxy_env=ops.ProxyEnv(http=proxy.http_proxy, https=proxy.https_proxy, ftp=proxy.ftp_proxy, no=proxy.no_proxy, all=proxy.all_proxy)
        if message.HasField("proxy_env")
        else None,
        extra_hosts=tuple(ops.HostIP(host=h.Host, ip=h.IP) for h in message.extraHosts),
        hostname=message.hostname,
        ulimits=tuple(ops.Ulimit(name=u.Name, soft=u.Soft, hard=u.Hard) for u in message.ulimit),
        cgroup_parent=message.cgroupParent,
        remove_mount_stubs_recursive=message.removeMountStubsRecursive,
        valid_exit_codes=tuple(message.validExitCodes),
    )


def _mount_from_pb(message: pb.Mount) -> ops.Mount:
    return ops.Mount(
        input=message.input,
        selector=message.selector,
        dest=message.dest,
        output=message.output,
        readonly=message.readonly,
        type=known(ops.MountType, message.mountType, "mount type"),
        tmpfs_size=message.TmpfsOpt.size if message.HasField("TmpfsOpt") else None,
        cache=_cache_from_pb(message.cacheOpt) if message.HasField("cacheOpt") else None,
        secret=_secret_from_pb(message.secretOpt) if message.HasField("secretOpt") else None,
        ssh=_secret_from_pb(message.SSHOpt) if message.HasField("SSHOpt") else None,
        result_id=message.resultID,
        content_cache=known(ops.ContentCache, message.contentCache, "content cache mode"),
    )


def _cache_from_pb(message: pb.CacheOpt) -> ops.CacheOpt:
    return ops.CacheOpt(id=message.ID, sharing=known(ops.Sharing, message.sharing, "cache sharing mode"))


def _secret_from_pb(message: pb.SecretOpt | pb.SSHOpt) -> ops.FileSecret:
    return ops.FileSecret(id=message.ID, uid=message.uid, gid=message.gid, mode=message.mode, optional=message.optional)
