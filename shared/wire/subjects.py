"""Every bus subject, in one table. Ids are checked (shared.model.ident) before they become part of a subject."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

from shared.model import Platform, require_safe_id

# work queues: pulled, acknowledged after the effect
BUILDS = "work.builds"  # SolveBuild; pulled by solvers
EXEC_ANY = "work.exec"  # + .<class>.<platform>: RunOp; pulled by executors with a free slot

# calls: request with heartbeats to one member of a queue group
FRONTEND = "call.frontend"  # RunFrontend
EXPORTER = "call.exporter"  # RunExport
EXECUTOR = "call.executor"  # ResolveSource and everything that any executor can answer
CACHE = "call.cache"  # questions and orders to the cachestore
LAYERS = "call.layers"  # what executors may tell and ask the cachestore: layers that are in the blob store
SOLVER = "call.solver"
CANCEL = "calls.cancel"  # broadcast: a bare `cancel` frame whose key is the id of the call that nobody wants any more

# key-value buckets
KV_EXECUTORS = "executors"  # executor id → ExecutorInfo
KV_SESSIONS = "sessions"  # session id → SessionInfo
KV_BUILDS = "builds"  # build ref → ActiveBuild
KV_BRIDGES = "bridges"  # <build ref>.<name> → what another solver needs to go on with the build (owner, handles, the client's last word)
KV_CONTEXTS = "contexts"  # digest of a local directory's name → the executor that has its last state
KV_PULLS = "pulls"  # what is being downloaded → the executor that does it
KV_LEADERS = "leaders"  # service → id of the process that leads
KV_LOCKS = "locks"  # hash of a lock's name → its holder
KV_MOUNTS = "cache-mounts"  # hash of a cache mount's name → CacheMountKept
KV_PINS = "pins"  # owner (a build ref) → digests, one a line: blobs that garbage collection must keep
KV_KEYS = "cache-keys"  # the cache index
KV_ETAGS = "http-etags"  # what servers said about what executors have downloaded
KV_ORIGINS = "image-origins"  # documents of images that executors have resolved
KV_HISTORY = "history"  # build ref → marshaled BuildHistoryRecord

TTL: Final[Mapping[str, float]] = {
    KV_EXECUTORS: 5.0,
    KV_SESSIONS: 30.0,
    KV_BUILDS: 30.0,
    KV_BRIDGES: 6 * 3600.0,
    KV_CONTEXTS: 7 * 86400.0,
    KV_PULLS: 6.0,
    KV_LEADERS: 4.0,
    KV_LOCKS: 10.0,
    KV_MOUNTS: 0.0,
    KV_PINS: 0.0,
    KV_KEYS: 0.0,
    KV_ETAGS: 0.0,
    KV_ORIGINS: 0.0,
    KV_HISTORY: 0.0,
}
"""All buckets, with the seconds after which an entry that is not written again is gone (0 = kept)."""

NEIGHBOURS = "executors.here"  # broadcast: an executor's id, again and again
REGISTRY_RESTS = "executors.rests"  # broadcast: a registry's host and for how many seconds it wants no requests
SOLVER_TURNS = "solvers.turns"  # broadcast: what waits at a solver, by pool and identity
LEASES = "leases"  # broadcast: LeaseRenew, LeaseReleased
WANTED = "streams.wanted"  # broadcast: the name of a stream that somebody misses who must not make it

HISTORY = "history.events"  # broadcast: HistoryChanged, so that every gateway's listeners hear of it


def exec_queue(platform: Platform, klass: str = "default", *, emulated: bool = False) -> str:
    """Queue of RunOp tasks for executors of this platform and class; those that only emulate the platform pull from another one."""
    name = "-".join(p for p in ("emulated" if emulated else "", platform.os, platform.architecture, platform.variant) if p)
    return f"{EXEC_ANY}.{require_safe_id(klass, 'executor class')}.{require_safe_id(name, 'platform')}"


def exec_queues(platforms: Iterable[Platform], emulated: Collection[Platform], classes: Iterable[str]) -> frozenset[str]:
    """All queues that an executor with these platforms (of which it only emulates some) pulls from."""
    return frozenset(exec_queue(p.normalized(), klass, emulated=p in emulated) for klass in classes for p in platforms)


def executor_call(executor_id: str) -> str:
    """Calls to one executor (ContentHash, ReadFile, Pack, RunOp that must run there…)."""
    return f"executor.{require_safe_id(executor_id, 'executor id')}.call"


def solver_call(solver_id: str) -> str:
    """Calls to one solver (JoinRun)."""
    return f"solver.{require_safe_id(solver_id, 'solver id')}.call"


def build_events(ref: str) -> str:
    """Log with replay: BuildEvents of one build, ended by BuildEvents(last=True)."""
    return f"build.{require_safe_id(ref, 'build ref')}.events"


def trace(trace_id: str) -> str:
    """Broadcast: SpansEnded of one trace, in lower-case hex."""
    return f"trace.{require_safe_id(trace_id, 'trace id')}"


def build_bridge(ref: str) -> str:
    """Calls of LLBBridge for one build by its client, answered by its solver."""
    return f"build.{require_safe_id(ref, 'build ref')}.bridge"


def build_runs(ref: str) -> str:
    """The same by frontends, whose calls name their run."""
    return f"build.{require_safe_id(ref, 'build ref')}.runs"
