"""Vertices and what is known of them: inputs, options, cache maps, results."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.model import ProgressGroup

Digest = str


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexOptions:
    """Metadata of an op; none of it is part of the digest (pb.OpMetadata)."""

    ignore_cache: bool = False
    export_cache: bool | None = None
    description: Mapping[str, str] = field(default_factory=dict)
    group: ProgressGroup | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Vertex:
    """One op. `digest` keys the shared state, `original` is the digest the client knows (source locations use it).

    `op` is opaque here; only cache_keys.py and the adapters look inside.
    """

    digest: Digest
    name: str
    inputs: tuple["Output", ...] = ()
    options: VertexOptions = VertexOptions()
    op: Any = None
    original: Digest = ""
    height: int = 0  # longest way down; only vertices that are alive know it

    @property
    def client_digest(self) -> Digest:
        """The digest under which the client's definition lists this op."""
        return self.original or self.digest


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """Output number `index` of a vertex (BuildKit: Edge)."""

    vertex: Vertex
    index: int = 0

    @property
    def key(self) -> tuple[Digest, int]:
        """What identifies it within one solver."""
        return self.vertex.digest, self.index


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentSelector:
    """Which paths of an input count for its content digest (opsutils.Selector)."""

    path: str = ""
    wildcard: bool = False
    follow_links: bool = False
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    required: tuple[str, ...] = ()

    @property
    def filtered(self) -> bool:
        """True when it selects by pattern instead of naming one path."""
        return self.wildcard or bool(self.include) or bool(self.exclude)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRule:
    """How one input counts for the cache key: by `selector` in links, and by content of `content` where that is allowed."""

    selector: Digest = ""
    content: tuple[ContentSelector, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheMap:
    """One definition-based key of a vertex. `last` False = the op has another one (index + 1)."""

    digest: Digest
    inputs: tuple[InputRule, ...] = ()
    last: bool = True

    def rule(self, index: int) -> InputRule:
        """The rule of input `index`; inputs that the map doesn't mention have no selector and no content key."""
        return self.inputs[index] if index < len(self.inputs) else InputRule()


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRecord:
    """A stored result that a key leads to. `payload` is what the cache index needs to load it; opaque here."""

    id: str
    created_at: int = 0
    priority: int = 0
    payload: Any = None
