"""Operations as values: what pb.Op says, with enums checked and oneofs told apart (solver/pb/ops.proto).

`EMPTY` and `SKIP` are the two special indexes: no input, and no output. Modes are C modes (0o755); -1 in a Copy keeps the source's.
Timestamps are nanoseconds, -1 = none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TypeAlias

from shared.model import Digest, Platform

EMPTY = -1
SKIP = -1


class NetMode(IntEnum):
    """SANDBOX is what the proto calls UNSET."""

    SANDBOX = 0
    HOST = 1
    NONE = 2


class SecurityMode(IntEnum):
    SANDBOX = 0
    INSECURE = 1


class MountType(IntEnum):
    BIND = 0
    SECRET = 1
    SSH = 2
    CACHE = 3
    TMPFS = 4


class Sharing(IntEnum):
    SHARED = 0
    PRIVATE = 1
    LOCKED = 2


class ContentCache(IntEnum):
    DEFAULT = 0
    ON = 1
    OFF = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Output `index` of the operation with this digest."""

    digest: Digest
    index: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyEnv:
    http: str = ""
    https: str = ""
    ftp: str = ""
    no: str = ""
    all: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostIP:
    host: str
    ip: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ulimit:
    name: str
    soft: int
    hard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """The process of an exec. `env` as `K=V`."""

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    cwd: str = "/"
    user: str = ""
    proxy_env: ProxyEnv | None = None
    extra_hosts: tuple[HostIP, ...] = ()
    hostname: str = ""
    ulimits: tuple[Ulimit, ...] = ()
    cgroup_parent: str = ""
    remove_mount_stubs_recursive: bool = False
    valid_exit_codes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOpt:
    id: str
    sharing: Sharing = Sharing.SHARED


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSecret:
    """What SecretOpt and SSHOpt have in common."""

    id: str
    uid: int = 0
    gid: int = 0
    mode: int = 0
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """One mount of an exec. `tmpfs_size` in bytes, None = no TmpfsOpt; `result_id` only in containers of the gateway API."""

    input: int = EMPTY
    selector: str = ""
    dest: str
    output: int = 0
    readonly: bool = False
    type: MountType = MountType.BIND
    tmpfs_size: int | None = None
    cache: CacheOpt | None = None
    secret: FileSecret | None = None
    ssh: FileSecret | None = None
    result_id: str = ""
    content_cache: ContentCache = ContentCache.DEFAULT


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretEnv:
    id: str
    name: str
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    name: str
    optional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOp:
    meta: Meta
    mounts: tuple[Mount, ...]
    network: NetMode = NetMode.SANDBOX
    security: SecurityMode = SecurityMode.SANDBOX
    secret_env: tuple[SecretEnv, ...] = ()
    devices: tuple[Device, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOp:
    identifier: str
    attrs: Mapping[str, str] = field(default_factory=dict)

    @property
    def scheme(self) -> str:
        """`docker-image`, `local`, `git`, `http`, `https`, `oci-layout`, …"""
        return self.identifier.partition("://")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOp:
    """A nested definition; `definition` is marshaled pb.Definition or empty."""

    builder: int
    inputs: Mapping[str, int] = field(default_factory=dict)
    definition: bytes = b""
    attrs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeOp:
    inputs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffOp:
    lower: int
    upper: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PassthroughOp:
    id: str
    outputs: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A user or group: by number (`id`), or by a name looked up in the file tree of input `input`."""

    id: int = 0
    name: str = ""
    input: int = EMPTY


@dataclass(frozen=True, slots=True, kw_only=True)
class Chown:
    user: Owner | None = None
    group: Owner | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    src: str
    dest: str
    owner: Chown | None = None
    mode: int = -1
    mode_str: str = ""
    follow_symlink: bool = False
    dir_copy_contents: bool = False
    attempt_unpack: bool = False
    create_dest_path: bool = False
    allow_wildcard: bool = False
    allow_empty_wildcard: bool = False
    timestamp: int = -1
    include_patterns: tuple[str, ...] = ()
    exclude_patterns: tuple[str, ...] = ()
    required_paths: tuple[str, ...] = ()
    always_replace_existing_dest_paths: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MkFile:
    path: str
    mode: int = 0o644
    data: bytes = b""
    owner: Chown | None = None
    timestamp: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class MkDir:
    path: str
    mode: int = 0o755
    make_parents: bool = False
    owner: Chown | None = None
    timestamp: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Rm:
    path: str
    allow_not_found: bool = False
    allow_wildcard: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Symlink:
    oldpath: str
    newpath: str
    owner: Chown | None = None
    timestamp: int = -1


Action: TypeAlias = Copy | MkFile | MkDir | Rm | Symlink


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAction:
    """Inputs below the number of the op's inputs name those, higher ones the results of earlier actions."""

    input: int
    secondary_input: int = EMPTY
    output: int = SKIP
    action: Action


@dataclass(frozen=True, slots=True, kw_only=True)
class FileOp:
    actions: tuple[FileAction, ...]


Kind: TypeAlias = ExecOp | SourceOp | FileOp | BuildOp | MergeOp | DiffOp | PassthroughOp


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One vertex. `kind` None only in the last element of a definition, which points to the result.

    `platform` None = not set; `constraints` None = the message is absent (it is there, empty, in what BuildKit's client makes).
    """

    kind: Kind | None
    inputs: tuple[Input, ...] = ()
    platform: Platform | None = None
    constraints: tuple[str, ...] | None = ()
