"""What the core asks of the build: each request is yielded, and its answer is the value of the yield.

A failed request raises DockerfileError at the yield, with the mesh's error as its cause.
"""

from collections.abc import Generator, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from shared.llb import Definition, Op, SourceOp
from shared.model import Digest, Platform

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheImport:
    """A cache to look into: a type with attributes."""

    type: str
    attrs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """Answer of Solve: a handle of the build's. `id` "" = an empty tree."""

    id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Solve:
    """The tree of a definition; nothing runs before something is read of it, unless `evaluate`. Answer: Tree."""

    definition: Definition
    evaluate: bool = False
    cache_imports: tuple[CacheImport, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadFile:
    """Content of a file; `length` 0 = all. Answer: bytes."""

    tree: Tree
    path: str
    length: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolveSource:
    """Facts about a source without fetching it. Answer: SourceFacts."""

    source: SourceOp
    log_name: str
    platform: Platform | None = None
    resolve_mode: str = ""
    return_object: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """`identifier` after source policies; `config` None = it is no image; times in seconds since the epoch."""

    identifier: str
    digest: Digest | None = None
    config: bytes | None = None
    commit: bytes = b""
    last_modified: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Definitions that the caller handed to the frontend. Answer: dict of name → decoded Definition."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """Another frontend, with the same inputs. Answer: its result, which is only handed on."""

    frontend: str
    options: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunImage:
    """Run the process of `op` (an ExecOp whose input 0 is `tree`) as a frontend. Answer: its result, which is only handed on."""

    tree: Tree
    op: Op


@dataclass(frozen=True, slots=True)
class Together:
    """Several at once. Answer: list of their values, in order; the first error cancels the others."""

    asks: "Sequence[Asking[Any]]"


@dataclass(frozen=True, slots=True)
class Once:
    """What others with the same key may be asking already: all get the same answer. Answer: the value of `ask`."""

    key: Hashable
    ask: "Asking[Any]"


Request: TypeAlias = Solve | ReadFile | ResolveSource | Inputs | Forward | RunImage | Together | Once
Asking: TypeAlias = Generator[Request, Any, T]
"""A computation that asks: `answer = yield Request(…)`, `value = yield from another()`."""
