"""What the solver asks of the world, in its own words. Answers are values of shared.model and shared.wire; errors are shared.errors."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from services.solver.core.cache_key import CacheKey
from services.solver.core.graph import LlbOp
from services.solver.core.questions import Question, Reply
from services.solver.core.source_policy import RegexQuestion, RegexReply
from services.solver.core.vertex import ContentSelector, Digest, Vertex
from shared.errors import Detail
from shared.model import CacheEntry, Layer, LogChunk, Platform, Ref, Status
from shared.wire.messages import (
    BridgeResolveSource,
    BridgeResult,
    BuildEvents,
    ChainNode,
    Compression,
    ExportDone,
    ExportResult,
    FileData,
    FileStats,
    OpenContainer,
    ReadContainerDir,
    ReadContainerFile,
    ResolveSource,
    RunClaimed,
    RunFrontend,
    RunImage,
    RunProcess,
    Scope,
    SourceMeta,
    SourceResolved,
    StatContainerFile,
    TypedAttrs,
    Worker,
)

Heard = Callable[[Sequence[Status], Sequence[LogChunk]], None]


class CacheIndex(Protocol):
    """The cache index of the fleet. It never fails: what can't be asked is a miss, what can't be stored is forgotten."""

    async def ask(self, question: Question) -> Reply: ...

    async def save(self, vertex: Digest, keys: Sequence[CacheKey], ref: Ref | None, identity: str = "") -> tuple[str, ...]:
        """Store under each key, linking it from its inputs; the ids of the keys, in order. Idempotent. `identity`: who had it made."""
        ...

    async def drop(self, ref_ids: Sequence[str]) -> None:
        """These refs are gone: forget every record of them. Idempotent."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimWish:
    """Who wants to run a vertex; see shared.wire ClaimRun."""

    solver: str
    run: str
    gone: str = ""
    fresh: bool = False
    single: bool = True


class Claims(Protocol):
    """Who runs what in the fleet. It never fails."""

    async def claim(self, keys: Sequence[CacheKey], claim: ClaimWish) -> RunClaimed | None:
        """A stored result, or whose run it is; None when nobody can say."""
        ...

    async def release(self, runs: Sequence[str], *, solver: str) -> None:
        """These have ended; `solver` lives, and so do its other claims. Idempotent."""
        ...


Outputs = tuple[Ref | None, ...]


class Sharing(Protocol):
    """Equal runs of the whole fleet as one."""

    async def run(self, vertex: Vertex, keys: Sequence[CacheKey], work: "Callable[[Heard], Awaitable[Outputs]]", heard: Heard) -> Outputs:
        """What `work` gives here, or the equal run elsewhere, whose progress is told as this vertex's. Raises as `work` does."""
        ...

    def lost(self, ref_ids: Sequence[str]) -> None:
        """These outputs are gone: a run that gave them is no answer any more."""
        ...


class CacheTravel(Protocol):
    """Caches that come from elsewhere and go elsewhere. Raises what the other side says."""

    async def chain(self, keys: Sequence[str]) -> tuple[ChainNode, ...]:
        """Everything that these keys follow from, inputs first; empty when the index can't be asked."""
        ...

    async def learn(self, entries: Sequence[CacheEntry]) -> None:
        """Add an imported cache to the index. Idempotent."""
        ...


class Work(Protocol):
    """Executors. All calls may raise RefLost naming one of the refs given; lost calls are repeated inside."""

    async def resolve(self, request: ResolveSource, heard: Heard) -> SourceResolved:
        """What a source is now."""
        ...

    async def run(
        self,
        vertex: Digest,
        name: str,
        op: LlbOp,
        inputs: Sequence[Ref | None],
        resolved: SourceResolved | None,
        scope: Scope,
        heard: Heard,
    ) -> tuple[Ref | None, ...]:
        """Run an op where its inputs are, or anywhere; its outputs."""
        ...

    async def pack(self, ref: Ref, compression: Compression, scope: Scope, heard: Heard, *, only_known: bool) -> tuple[Layer, ...]:
        """The layers of a ref; with `only_known` empty when a blob would have to be made."""
        ...

    async def hash_content(self, ref: Ref | None, selectors: Sequence[ContentSelector], scope: Scope, heard: Heard) -> Digest:
        """The digest of the selected content."""
        ...


class Files(Protocol):
    """Reading single files of results."""

    async def read(self, ref: Ref, path: str, scope: Scope, *, offset: int = 0, length: int = 0) -> FileData: ...

    async def read_dir(self, ref: Ref, path: str, scope: Scope, *, include: str = "") -> FileStats: ...

    async def stat(self, ref: Ref, path: str, scope: Scope) -> FileStats: ...


class ContainerHosts(Protocol):
    """Containers on executors, named by ids that nobody can guess. All calls raise Unavailable when the executor is gone."""

    async def open(self, request: OpenContainer, executor: str) -> str:
        """The executor that has it: `executor`, or where its trees are. May raise RefLost naming one of its refs."""
        ...

    async def run(self, request: RunProcess, executor: str) -> None:
        """Returns when the process is over; cancelling kills it."""
        ...

    async def close(self, id: str, executor: str) -> None:
        """Idempotent; a container dies with its executor. Raises what its first process that failed ended with."""
        ...

    async def files(self, request: "ContainerFiles", executor: str) -> FileData | FileStats:
        """What is on a mount now."""
        ...

    async def run_image(self, request: RunImage) -> BridgeResult:
        """What a frontend returns. Raises CallLost when its executor dies, RefLost naming its root; cancelling kills it."""
        ...


ContainerFiles = ReadContainerFile | ReadContainerDir | StatContainerFile


class Regexes(Protocol):
    """Regular expressions of clients."""

    async def ask(self, question: RegexQuestion) -> RegexReply:
        """Raises BuildFailed for a bad expression, and for one that takes too long."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a policy session decides: `action` as sent (PolicyAction; -1 = nothing). `update` = marshaled pb.SourceOp."""

    action: int
    update: bytes | None = None
    denied: Detail | None = None


class Verdicts(Protocol):
    """The policy session of a client."""

    async def ask(self, session: str, known: SourceMeta, platform: Platform | None) -> Verdict | BridgeResolveSource:
        """Its decision about a source of which so much is known, or what else it wants to know."""
        ...


class ClientExporters(Protocol):
    """Outputs that a client's session names once the result is there."""

    async def find(self, session: str, metadata: Mapping[str, bytes], refs: Sequence[str]) -> tuple[TypedAttrs, ...]:
        """For this result; none when the session has nothing to say. Raises the client's error, SessionGone."""
        ...

    async def finalize(self, session: str, response: Mapping[str, str]) -> None:
        """Everything is exported: these are the exporters' answers. Raises the client's error, SessionGone."""
        ...


class Fleet(Protocol):
    """Which executors there are."""

    def workers(self) -> tuple[Worker, ...]:
        """As frontends see them; the first is the default."""
        ...

    def default_platform(self) -> Platform:
        """Of ops and exports that name none."""
        ...


class Frontends(Protocol):
    """The built-in frontends."""

    async def run(self, request: RunFrontend) -> BridgeResult: ...


class Exports(Protocol):
    """The exporters."""

    async def check(self, exporter: TypedAttrs) -> str:
        """The name of its progress vertex. Raises for unknown types and bad attributes."""
        ...

    async def export(
        self,
        exporter: TypedAttrs,
        index: int,
        vertex: Digest,
        result: ExportResult,
        where: "ExportScope",
        heard: Heard,
        inline_cache: Mapping[str, tuple[CacheEntry, ...]],
    ) -> ExportDone: ...

    async def export_cache(
        self, option: TypedAttrs, entries: Sequence[CacheEntry], vertex: Digest, where: "ExportScope", heard: Heard
    ) -> ExportDone:
        """Write a cache to where the option says."""
        ...

    async def import_cache(self, option: TypedAttrs, vertex: Digest, session: str, scope: Scope, heard: Heard) -> tuple[CacheEntry, ...]:
        """Read a cache."""
        ...

    async def finalize(self, order: bytes, vertex: Digest, where: "ExportScope", heard: Heard) -> None:
        """The second half (push) of an export."""
        ...


class ExportScope(Protocol):
    """On whose behalf an export runs."""

    @property
    def session(self) -> str: ...

    @property
    def scope(self) -> Scope: ...

    @property
    def platform(self) -> Platform: ...

    @property
    def compatibility_version(self) -> int: ...


class Journal(Protocol):
    """The event log of a build."""

    async def append(self, build: str, events: BuildEvents) -> None:
        """Publish a batch; what can't be published is lost, the build goes on."""
        ...


class BuildMemory(Protocol):
    """What outlives this process of builds that a client drives, for the solver that takes them over. It never fails a build.

    `name`s are unique within a build; messages are those of shared.wire.
    """

    async def claim(self, build: str, order: int) -> bool:
        """From now on the build is this process's. True when another one had it before.

        `order` grows with each delivery of the build. Raises Unavailable when it has been claimed with a higher one.
        """
        ...

    async def is_mine(self, build: str) -> bool:
        """False once another solver has claimed it: then this one has no say in it any more."""
        ...

    async def keep(self, build: str, name: str, message: Any) -> None:
        """When this returns, another solver can recall it. Idempotent."""
        ...

    async def recall(self, build: str, name: str) -> Any:
        """What was kept under the name, or None."""
        ...

    async def forget(self, build: str, *, begun_elsewhere: bool = False) -> None:
        """The build has ended: nobody will take it over. Idempotent.

        `begun_elsewhere`: by a solver that is gone, and it has not been claimed here.
        """
        ...


class Leases(Protocol):
    """Keeps what builds use from being removed."""

    async def renew(self, leases: Sequence[str]) -> None: ...

    async def release(self, lease: str) -> None: ...


Definitions = Mapping[str, bytes]
