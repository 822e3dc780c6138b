"""What a build says while it runs; the fields follow moby.buildkit.v1 Vertex, VertexStatus, VertexLog, VertexWarning.

All times are integer nanoseconds since the epoch; 0 = not set.
"""

from dataclasses import dataclass

from shared.model.digest import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressGroup:
    """Vertices with the same group id are shown as one line."""

    id: str
    name: str = ""
    weak: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class VertexEvent:
    """The state of one vertex now. A vertex may start and complete several times."""

    digest: Digest
    name: str
    inputs: tuple[Digest, ...] = ()
    cached: bool = False
    started: int = 0
    completed: int = 0
    error: str = ""
    group: ProgressGroup | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """Progress of a part of a vertex, identified by (vertex, id). `total` 0 = unknown."""

    vertex: Digest
    id: str
    name: str = ""
    current: int = 0
    total: int = 0
    timestamp: int = 0
    started: int = 0
    completed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LogChunk:
    """Raw output of a vertex. `stream` 1 = stdout, 2 = stderr."""

    vertex: Digest
    stream: int
    data: bytes
    timestamp: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcePosition:
    """Line counts from 1, character from 0."""

    line: int
    character: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRange:
    """From start to end, both always present (clients dereference them)."""

    start: SourcePosition
    end: SourcePosition


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """A source text that ranges point into (pb.SourceInfo); `definition` is a marshaled pb.Definition or empty."""

    filename: str
    data: bytes = b""
    language: str = ""
    definition: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Warn:
    """A warning on a vertex."""

    vertex: Digest
    level: int
    short: bytes
    detail: tuple[bytes, ...] = ()
    url: str = ""
    info: SourceInfo | None = None
    ranges: tuple[SourceRange, ...] = ()
