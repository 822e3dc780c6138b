"""Definition → vertices: options from metadata, names, the platform filled in, and what may not be asked for refused.

BuildKit: solver/llbsolver/vertex.go. The definition itself was checked when it was decoded (shared.llb).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from services.solver.core.cache_keys import cache_map
from services.solver.core.fair_queue import PRIORITIES
from services.solver.core.vertex import CacheMap, Output, Vertex, VertexOptions
from shared.errors import BuildFailed, InvalidInput
from shared.llb import (
    LLB_CAPS,
    Definition,
    ExecOp,
    FileOp,
    Metadata,
    MountType,
    NetMode,
    Op,
    Resources,
    SecurityMode,
    SourceOp,
    op_name,
    walk,
)
from shared.model import Digest, Platform, is_safe_id

DEFAULT_CLASS = "default"
PRIORITY_OPTIONS = ("priority", "build-arg:BUILDMESH_PRIORITY")
CLASS_OPTIONS = ("executor-class", "build-arg:BUILDMESH_EXECUTOR_CLASS")
KNOWN_CAPS = frozenset(str(cap) for cap in LLB_CAPS) | {"exec.meta.removemountstubs.recursive", "file.copy.modestring"}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class LlbOp:
    """What a vertex of a build is: `data` = the bytes it was digested from, `platform` = where it runs, normalized.

    `klass` names the class of executors that shall run it, `priority` orders it among those of the same identity.
    """

    op: Op
    data: bytes
    platform: Platform
    klass: str = DEFAULT_CLASS
    priority: int = 0
    resources: Resources | None = None
    prune_mounts: tuple[str, ...] = ()

    @property
    def is_file(self) -> bool:
        """True for file actions, which take no longer than it takes to ask for them."""
        return isinstance(self.op.kind, FileOp)

    @property
    def is_source(self) -> bool:
        """Sources are asked for their cache maps; all other ops say it themselves."""
        return isinstance(self.op.kind, SourceOp)

    def cache_map(self) -> CacheMap:
        """The cache map of an op that is no source."""
        return cache_map(self.op, self.platform)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRules:
    """What the build may ask for, and the platform of ops that name none."""

    default_platform: Platform
    entitlements: Collection[str] = ()
    klass: str = DEFAULT_CLASS
    priority: int = 0


def wanted_priority(options: Mapping[str, str]) -> int | None:
    """What the build's attributes ask for: `priority=N`, or the build argument BUILDMESH_PRIORITY, from -10 to 10; None = nothing.

    Raises InvalidInput for anything else.
    """
    text = next((options[key] for key in PRIORITY_OPTIONS if options.get(key)), "")
    if not text:
        return None
    try:
        priority = int(text[:5])
    except ValueError:
        priority = 99
    if priority not in PRIORITIES:
        raise InvalidInput(f"invalid priority: {text[:100]!r} is no number from {PRIORITIES[0]} to {PRIORITIES[-1]}")
    return priority


def wanted_class(options: Mapping[str, str]) -> str:
    """The class of executors that the build's attributes ask for: `executor-class=NAME`, or the build argument BUILDMESH_EXECUTOR_CLASS.

    "" = none. Raises InvalidInput for what can't be the name of a class.
    """
    name = next((options[key] for key in CLASS_OPTIONS if options.get(key)), "")
    if name and not is_safe_id(name):
        raise InvalidInput(f"invalid executor class: {name[:100]!r}")
    return name


def load_graph(definition: Definition, rules: LoadRules) -> Output | None:
    """The result of a definition over vertices; None = scratch. Raises BuildFailed for what is not allowed or not known."""
    if definition.result is None:
        return None
    vertices: dict[Digest, Vertex] = {}
    names: dict[Digest, str] = {}
    for digest, op in walk(definition):
        about = definition.about(digest)
        _check_allowed(op, rules.entitlements)
        _check_caps(about)
        names[digest] = about.custom_name or op_name(op, names)
        inputs = tuple(Output(vertices[i.digest], i.index) for i in op.inputs)
        vertices[digest] = Vertex(digest, names[digest], inputs, _options(about), _llb_op(op, definition.data[digest], about, rules))
    return Output(vertices[definition.result.digest], definition.result.index)


def _options(about: Metadata) -> VertexOptions:
    return VertexOptions(
        ignore_cache=about.ignore_cache,
        export_cache=about.export_cache,
        description=about.description,
        group=about.progress_group,
    )


def _llb_op(op: Op, data: bytes, about: Metadata, rules: LoadRules) -> LlbOp:
    platform = (op.platform or rules.default_platform).normalized()
    exec_op = op.kind if isinstance(op.kind, ExecOp) else None
    return LlbOp(
        op=replace(op, platform=platform),
        data=data,
        platform=platform,
        klass=rules.klass,
        priority=rules.priority,
        resources=about.resources if exec_op else None,
        prune_mounts=_cache_ids(exec_op) if exec_op and about.ignore_cache else (),
    )


def _cache_ids(op: ExecOp) -> tuple[str, ...]:
    """Cache mounts start empty when the cache is ignored."""
    return tuple(dict.fromkeys(m.cache.id or m.dest for m in op.mounts if m.type == MountType.CACHE and m.cache is not None))


def _check_allowed(op: Op, granted: Collection[str]) -> None:
    if not isinstance(op.kind, ExecOp):
        return
    wanted = {"network.host": op.kind.network == NetMode.HOST, "security.insecure": op.kind.security == SecurityMode.INSECURE}
    for name, needed in wanted.items():
        if needed and name not in granted:
            raise BuildFailed(f"{name} is not allowed")


def _check_caps(about: Metadata) -> None:
    for cap in about.caps:
        if cap not in KNOWN_CAPS:
            raise BuildFailed(f"unknown API capability {cap}")
