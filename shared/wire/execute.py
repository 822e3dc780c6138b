"""Messages to executors: resolve a source, run an op, hash, read, pack, send, and keep house."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from shared.model import Digest, KeptMount, Layer, LogChunk, Platform, Ref, Status
from shared.wire.source_facts import AttestationChain, ChecksumWish, ImageWish


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """On whose behalf a task runs."""

    lease: str  # the build ref (or another lease id): refs used and made are held under it
    sessions: tuple[str, ...] = ()  # tried in order
    entitlements: tuple[str, ...] = ()  # granted, checked again in the executor
    identity: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveSource:
    """Find out what a source is now, without fetching more than that needs (call `call.executor`). Answer: SourceResolved.

    `op` = marshaled pb.Op holding a SourceOp; `platform` wanted. `for_meta`: for ResolveSourceMeta rather than a vertex.
    """

    vertex: Digest
    op: bytes
    platform: Platform
    scope: Scope
    resolve_mode: str = ""
    for_meta: bool = False
    no_config: bool = False
    return_object: bool = False
    image: ImageWish = field(default_factory=ImageWish)
    checksum: ChecksumWish | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceResolved:
    """`keys`: the cache-map digests in order (solver/llbsolver/ops/source.go): sha256 of `buildkit.source.v0:<key>`, or `random:…`.

    `ref` is set when nothing has to run to have the result (lazy image); `scratch` when it is known to be empty.
    `executor` is where running it is cheapest ("" = anywhere).
    """

    keys: tuple[str, ...]
    pin: str = ""
    ref: Ref | None = None
    scratch: bool = False
    executor: str = ""
    name: str = ""  # e.g. docker.io/library/busybox:latest
    image_digest: str = ""
    image_config: bytes = b""
    git_checksum: str = ""
    git_ref: str = ""
    git_commit_checksum: str = ""
    git_commit_object: bytes = b""
    git_tag_object: bytes = b""
    http_checksum: str = ""
    http_filename: str = ""
    http_last_modified: int = 0
    http_wished: str = ""  # the digest of ChecksumWish
    chain: AttestationChain | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOp:
    """Run one op (queue `work.exec.…`, or a call to one executor). Answer: OpDone. Idempotent by (vertex, attempt).

    `op` = marshaled pb.Op as digested; `inputs` by input index; `name` for people; `resources` = marshaled pb.LinuxResources.
    `prune_mounts`: cache mount ids to empty first (ignore_cache). `resolved`: of a source op.
    """

    vertex: Digest
    attempt: int
    op: bytes
    platform: Platform
    inputs: tuple[Ref | None, ...]
    scope: Scope
    name: str = ""
    resources: bytes = b""
    prune_mounts: tuple[str, ...] = ()
    resolved: SourceResolved | None = None
    proxy_network: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class OpDone:
    """Outputs by output index; None = scratch."""

    outputs: tuple[Ref | None, ...]
    executor: str
    started: int = 0  # ns
    completed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinRun:
    """Wait for a vertex that another solver runs (call `solver.<id>.call`). Answer: OpDone; progress from its start as TaskProgress."""

    run: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskProgress:
    """Batched progress of a running call (the `progress` frames)."""

    statuses: tuple[Status, ...] = ()
    logs: tuple[LogChunk, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HashSelector:
    """What of an input is hashed (solver/llbsolver/ops/opsutils Selector)."""

    path: str
    wildcard: bool = False
    follow_links: bool = False
    include_patterns: tuple[str, ...] = ()
    exclude_patterns: tuple[str, ...] = ()
    required_paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentHash:
    """Digest of the selected content of a ref (call to its home, or `call.executor`). Answer: ContentHashed."""

    ref: Ref | None
    selectors: tuple[HashSelector, ...]
    scope: Scope
    vertex: Digest | None = None  # whose progress it is when layers have to be fetched first


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentHashed:
    digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRefFile:
    """Answer: FileData (build.py). Paths are resolved inside the root. `length` 0 = to the end."""

    ref: Ref
    path: str
    scope: Scope
    offset: int = 0
    length: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadRefDir:
    """Answer: FileStats."""

    ref: Ref
    path: str
    scope: Scope
    include_pattern: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatRefFile:
    """Answer: FileStats with one entry."""

    ref: Ref
    path: str
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """`type`: gzip | zstd | uncompressed | estargz; `level` -1 = default; `force`: convert layers that exist otherwise."""

    type: str = "gzip"
    level: int = -1
    force: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """Have the layer chain of a ref in the blob store (call to its home). Answer: Packed. Idempotent per (ref, compression).

    `rewrite_epoch` ≥ 0: clamp times of layers after the first `base_layers` to it (rewrite-timestamp). `fetch`: also fetch lazy layers.
    """

    ref: Ref
    compression: Compression
    scope: Scope
    rewrite_epoch: int = -1
    base_layers: int = 0
    fetch: bool = True
    only_known: bool = False  # answer without layers instead of making a blob that nobody has made yet
    transport: bool = False  # for another executor: any blob that exists will do, new ones are `transport` blobs


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    layers: tuple[Layer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDigests:
    """What the regular files of a ref are (call to its home, or `call.executor`). Answer: FilesDigested."""

    ref: Ref
    vertex: Digest
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesDigested:
    digests: Mapping[str, Digest]  # by path


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLayers:
    """Which of `layers` (base first, in the blob store) these files come from (`call.executor`). Answer: FileLayersFound."""

    layers: tuple[Layer, ...]
    paths: tuple[str, ...]
    vertex: Digest
    scope: Scope


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLayersFound:
    layers: Mapping[str, Digest]  # digest of the layer by path; files that no layer has are left out


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtraFile:
    """A small file that an exporter adds to a tree (attestations)."""

    path: str
    data: bytes
    mode: int = 0o600


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """One tree to send; `prefix` is the sub directory it goes to ("" = the root)."""

    ref: Ref | None
    prefix: str = ""
    extra: tuple[ExtraFile, ...] = ()
    status_id: str = "copying files"


@dataclass(frozen=True, slots=True, kw_only=True)
class SendTrees:
    """Send trees to the client: `kind` local (fsutil), or tar. Answer: Sent.

    `vertex` for statuses; `exporter_id` as the client numbers its targets; `epoch` ≥ 0 sets every mtime (s).
    """

    kind: str
    trees: tuple[Tree, ...]
    session: str
    exporter_id: int
    vertex: Digest
    scope: Scope
    mode: str = "copy"  # copy | delete
    epoch: int = -1
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    bytes_sent: int = 0


# --- house-keeping ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRecord:
    """One cache record for `du` and `prune` (reference 06 §5.1). Times ns, 0 = never."""

    id: str
    mutable: bool = False
    in_use: bool = False
    size: int = 0
    parents: tuple[str, ...] = ()
    created_at: int = 0
    last_used_at: int = 0
    usage_count: int = 0
    description: str = ""
    record_type: str = "regular"
    shared: bool = False
    executor: str = ""
    blobs: tuple[str, ...] = ()  # digests of layer blobs that this record stands for


@dataclass(frozen=True, slots=True, kw_only=True)
class ListUsage:
    """Call to one executor. Answer: UsageReport."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReport:
    records: tuple[UsageRecord, ...] = ()
    disk_total: int = 0  # bytes of the file system
    disk_free: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoveRefs:
    """Delete snapshots unless they are in use or have children. Answer: RefsRemoved (those that are gone now)."""

    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RefsRemoved:
    ids: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRenew:
    """Broadcast on `leases`: these are alive for another 60 s."""

    leases: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseReleased:
    """Broadcast on `leases`: what only this lease holds is free."""

    lease: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GcRule:
    """One rule of the worker's GC policy (reference 06 §5.4); keep_duration ns, spaces bytes."""

    all: bool = False
    filters: tuple[str, ...] = ()
    keep_duration: int = 0
    reserved_space: int = 0
    max_used_space: int = 0
    min_free_space: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """A device of an executor's machine, `vendor/class=name`. `free`: builds need no entitlement for it."""

    name: str
    free: bool = False
    annotations: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorInfo:
    """An executor as it registers itself in KV `executors` (renewed each second or two)."""

    id: str
    labels: Mapping[str, str] = field(default_factory=dict)
    platforms: tuple[Platform, ...] = ()  # the native one first
    emulated: tuple[Platform, ...] = ()  # those of `platforms` that need an emulator
    classes: tuple[str, ...] = ("default",)
    slots: int = 1
    busy: int = 0
    gc_policy: tuple[GcRule, ...] = ()
    draining: bool = False
    devices: tuple[DeviceInfo, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMountKept:
    """An entry of KV `cache-mounts`; `id` is the cache mount's, cut, for people who read the bucket."""

    kept: KeptMount
    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """A client session in KV `sessions`. `relay` is the gRPC address of the gateway that holds it."""

    id: str
    gateway: str
    relay: str
    methods: tuple[str, ...] = ()  # lower case
    name: str = ""
    shared_key: str = ""
