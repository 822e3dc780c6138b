"""Messages of a build: gateway ↔ solver, and the bridge that clients and frontends drive it by.

Definitions, ops and policies are marshaled protobuf bytes here (pb.Definition, pb.Op, …); only shared.llb and adapters open them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from shared.model import LogChunk, Platform, SourceInfo, SourceRange, Status, VertexEvent, Warn
from shared.wire.failure import Failure
from shared.wire.source_facts import AttestationChain, ChecksumWish, ImageWish


@dataclass(frozen=True, slots=True, kw_only=True)
class TypedAttrs:
    """An exporter or a cache option: a type with attributes."""

    type: str
    attrs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveBuild:
    """Run a build (work queue `work.builds`). Answer: SolveDone. Shapes: definition set | frontend set | neither (client-driven)."""

    ref: str
    session: str = ""
    frontend: str = ""
    frontend_opts: Mapping[str, str] = field(default_factory=dict)
    frontend_inputs: Mapping[str, bytes] = field(default_factory=dict)
    definition: bytes = b""
    scratch: bool = False  # the definition given has no ops: the result is scratch (not a client-driven build)
    exporters: tuple[TypedAttrs, ...] = ()
    cache_exports: tuple[TypedAttrs, ...] = ()
    cache_imports: tuple[TypedAttrs, ...] = ()
    entitlements: tuple[str, ...] = ()
    attestations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # kind (provenance, sbom) → attributes
    internal: bool = False
    session_exporter: bool = False
    source_policy: bytes = b""
    source_policy_session: str = ""
    compatibility_version: int = 0
    proxy_network: bool = False
    identity: str = ""  # of the client, from its certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class SolveDone:
    """The build succeeded. `descriptors`: platform id ("" = single) → per exporter index the root descriptor as JSON.

    `provenance`: platform id ("" = single) → predicate (SLSA v1), for the history.
    """

    exporter_response: Mapping[str, str] = field(default_factory=dict)
    descriptors: Mapping[str, tuple[bytes, ...]] = field(default_factory=dict)
    cached_steps: int = 0
    total_steps: int = 0
    completed_steps: int = 0
    warnings: int = 0
    provenance: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildEvents:
    """A batch of progress of one build (log `build.<ref>.events`). `last` is set on the final, empty one."""

    vertices: tuple[VertexEvent, ...] = ()
    statuses: tuple[Status, ...] = ()
    logs: tuple[LogChunk, ...] = ()
    warnings: tuple[Warn, ...] = ()
    last: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveBuild:
    """A build that some gateway waits for, in KV `builds` (renewed while it runs). `record` = marshaled BuildHistoryRecord."""

    ref: str
    gateway: str
    internal: bool = False
    record: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryChanged:
    """Broadcast on `history.events`: `kind` started | complete | deleted. `record` = marshaled BuildHistoryRecord."""

    kind: str
    record: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker as frontends see it."""

    id: str
    labels: Mapping[str, str] = field(default_factory=dict)
    platforms: tuple[Platform, ...] = ()


# --- the bridge: calls of clients on build.<ref>.bridge, of frontends on build.<ref>.runs --------------------------------------
#
# `caller` is RunFrontend.caller, which a frontend repeats in whatever it asks; "" = the client.


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeRef:
    """A result handle valid within its build. `id` "" = scratch. `definition` = marshaled pb.Definition it came from."""

    id: str
    definition: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attestation:
    """An attestation of a result (gateway.proto Attestation); `kind` 0 = in-toto, 1 = bundle."""

    kind: int
    path: str = ""
    ref: BridgeRef | None = None
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    predicate_type: str = ""
    subjects: tuple[Mapping[str, str], ...] = ()


SPDX = "https://spdx.dev/Document"
"""The predicate type of SBOMs."""


def sbom_bundle(scanned: BridgeRef) -> Attestation:
    """What a scanner left, as an attestation (frontend/attestations/sbom/sbom.go). The document of the result itself begins with `sbom`."""
    return Attestation(kind=1, ref=scanned, metadata={"reason": b"sbom", "sbom-core": b"sbom"}, predicate_type=SPDX)


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeResult:
    """A result: either `ref` (single; None = empty) or `refs` by platform id."""

    ref: BridgeRef | None = None
    refs: Mapping[str, BridgeRef] = field(default_factory=dict)
    metadata: Mapping[str, bytes] = field(default_factory=dict)
    attestations: Mapping[str, tuple[Attestation, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgePing:
    """Answer: BridgePong. Also tells whether the build is registered."""

    caller: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgePong:
    workers: tuple[Worker, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeSolve:
    """Solve within the build; lazy unless `evaluate`. Answer: BridgeResult. `definition` or `frontend`, not both; none: empty result."""

    definition: bytes = b""
    frontend: str = ""
    frontend_opts: Mapping[str, str] = field(default_factory=dict)
    frontend_inputs: Mapping[str, bytes] = field(default_factory=dict)
    cache_imports: tuple[TypedAttrs, ...] = ()
    evaluate: bool = False
    source_policies: tuple[bytes, ...] = ()
    caller: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeResolveSource:
    """Resolve a source op (marshaled pb.SourceOp) to its immutable form. Answer: SourceMeta."""

    source: bytes
    platform: Platform | None = None
    log_name: str = ""
    resolve_mode: str = ""
    no_config: bool = False
    image: ImageWish = field(default_factory=ImageWish)
    checksum: ChecksumWish | None = None  # http
    return_object: bool = False  # git: give commit and tag objects
    session: str = ""  # oci-layout: session and store that hold it
    store: str = ""
    source_policies: tuple[bytes, ...] = ()
    caller: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMeta:
    """What a source resolved to; only the fields of its scheme are set. `source` = marshaled pb.SourceOp, rewritten by policies."""

    source: bytes = b""
    image_digest: str = ""
    image_config: bytes = b""
    git_checksum: str = ""
    git_ref: str = ""
    git_commit_checksum: str = ""
    git_commit_object: bytes = b""
    git_tag_object: bytes = b""
    http_checksum: str = ""
    http_filename: str = ""
    http_last_modified: int = 0  # seconds, 0 = not known
    http_wished: str = ""  # the digest of ChecksumWish
    http_suffix: bytes = b""
    chain: AttestationChain | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeReadFile:
    """Answer: FileData. `length` 0 = to the end. With `mount` ≥ 0, here and below, `ref` is a container and this one of its mounts."""

    ref: str
    path: str
    offset: int = 0
    length: int = 0
    mount: int = -1
    caller: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeReadDir:
    """Answer: FileStats of the direct children, sorted by name."""

    ref: str
    path: str
    include_pattern: str = ""
    mount: int = -1
    caller: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeStatFile:
    """Answer: FileStats with one entry."""

    ref: str
    path: str
    mount: int = -1
    caller: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileData:
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStat:
    """fsutil Stat: `mode` is Go's FileMode, `mod_time` ns."""

    path: str
    mode: int
    uid: int = 0
    gid: int = 0
    size: int = 0
    mod_time: int = 0
    linkname: str = ""
    devmajor: int = 0
    devminor: int = 0
    xattrs: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStats:
    entries: tuple[FileStat, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeEvaluate:
    """Force the result of a ref. Answer: Done."""

    ref: str
    caller: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeInputs:
    """Answer: BridgeDefinitions: the frontend inputs of the build."""

    caller: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeDefinitions:
    definitions: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One warning of a BridgeWarn."""

    level: int
    short: bytes
    detail: tuple[bytes, ...] = ()
    url: str = ""
    ranges: tuple[SourceRange, ...] = ()
    caller: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeWarn:
    """Warnings of a frontend on a vertex, all about one file. Answer: Done; Exhausted when the build has too many."""

    VERSION: ClassVar[int] = 2

    digest: str
    findings: tuple[Finding, ...]
    info: SourceInfo | None = None
    caller: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BridgeReturn:
    """The client's final word for a client-driven build: a result or a failure. Answer: Done."""

    result: BridgeResult | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """An answer that only says: it is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Body of the `accepted` frame of queued work. With `ticket` the caller hands the work back when its server is gone.

    `attempt` counts the deliveries of the work: whoever has a later one has the say.
    """

    ticket: str
    attempt: int = 1


# --- solver → frontend ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFrontend:
    """Run a built-in frontend (call `call.frontend`). Answer: BridgeResult whose ref ids are the build's. Bridge calls go to `bridge`.

    Cancelling the call cancels the frontend.
    """

    build: str
    bridge: str  # subject: build.<ref>.runs
    frontend: str
    opts: Mapping[str, str] = field(default_factory=dict)
    inputs: Mapping[str, bytes] = field(default_factory=dict)
    session: str = ""
    caller: str = ""  # of this run: unguessable, to be repeated in all that it asks at the bridge, and in BridgeRunImage's container
    workers: tuple[Worker, ...] = ()
