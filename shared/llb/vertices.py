"""Vertices of a graph under construction, each turned into an op when the whole is marshaled (client/llb).

A vertex is compared by identity. What it needs of the graph (digests of its inputs, default platform) comes from the
`Marshaller` that calls it, after all its inputs have been called.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from shared.llb import ops
from shared.llb.caps import Cap
from shared.llb.definition import Resources
from shared.llb.paths import clean_path, is_absolute, join_path
from shared.model import Platform, ProgressGroup, SourceRange


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceMap:
    """The file that operations come from; `definition` = marshaled pb.Definition that loads it."""

    filename: str
    language: str
    data: bytes
    definition: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Lines of a source map."""

    source: SourceMap
    ranges: tuple[SourceRange, ...]


@dataclass(slots=True, kw_only=True)
class Constraints:
    """What goes with an op. All but the platform is metadata, outside of its identity."""

    platform: Platform | None = None
    ignore_cache: bool = False
    description: dict[str, str] = field(default_factory=dict)
    progress_group: ProgressGroup | None = None
    resources: Resources | None = None
    export_cache: bool | None = None
    places: tuple[Place, ...] = ()
    caps: dict[str, bool] = field(default_factory=dict)

    def need(self, *caps: Cap) -> None:
        for cap in caps:
            self.caps[cap.value] = True


def named(name: str, **rest: object) -> Constraints:
    """Constraints with a name for progress."""
    return Constraints(description={"llb.customname": name}, **rest)  # type: ignore[arg-type]


class Context(Protocol):
    """What a vertex sees of the marshalling."""

    @property
    def platform(self) -> Platform: ...

    @property
    def local_unique_id(self) -> str: ...

    @property
    def with_caps(self) -> bool:
        """Whether the server's capabilities are known (BuildKit's client.WithCaps)."""
        ...

    def input(self, output: "Output") -> ops.Input: ...


class Vertex(Protocol):
    """One operation."""

    @property
    def constraints(self) -> Constraints: ...

    def inputs(self) -> "Sequence[AnyOutput]":
        """Outputs that it needs, in the order in which they are to be marshaled."""
        ...

    def op(self, context: Context) -> ops.Op: ...


@dataclass(eq=False, slots=True)
class Output:
    """One output of a vertex. `index` may depend on what is added to the vertex later."""

    vertex: Vertex
    index: Callable[[], int] | int = 0
    platform: Platform | None = None

    def resolve(self) -> "Output | None":
        """Itself."""
        return self

    def number(self) -> int:
        return self.index if isinstance(self.index, int) else self.index()


class Later:
    """An output that is known only when the graph is marshaled. `find` is called once."""

    __slots__ = ("_find", "_found", "_known")

    def __init__(self, find: "Callable[[], AnyOutput | None] | None" = None) -> None:
        self._find = find
        self._found: Output | None = None
        self._known = False

    @property
    def platform(self) -> Platform | None:
        return None

    def set(self, output: "AnyOutput | None") -> None:
        """Says what it is."""
        self._found, self._known = output.resolve() if output is not None else None, True

    def resolve(self) -> Output | None:
        if not self._known:
            assert self._find is not None, "an output that was promised was never set"
            self.set(self._find())
        return self._found


AnyOutput = Output | Later


class SourceVertex:
    """A source. Local ones without a session get a unique id, so that they are never taken for one another."""

    def __init__(self, identifier: str, attrs: dict[str, str], constraints: Constraints) -> None:
        self.identifier = identifier
        self.attrs = attrs
        self.constraints = constraints

    def inputs(self) -> Sequence[AnyOutput]:
        return ()

    def op(self, context: Context) -> ops.Op:
        attrs = self.attrs
        if self.identifier.startswith("local://") and "local.session" not in attrs:
            attrs = {**attrs, "local.unique": context.local_unique_id}
            self.constraints.need(Cap.SOURCE_LOCAL_UNIQUE)
        specific = self.identifier.startswith(("docker-image://", "oci-layout://"))
        platform = (self.constraints.platform or context.platform) if specific else None
        return ops.Op(kind=ops.SourceOp(identifier=self.identifier, attrs=attrs), platform=platform)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStep:
    """One action on the tree of a FileVertex. A Copy takes from `source` (None = scratch), relative paths below `source_dir`."""

    action: ops.Action
    source: AnyOutput | None = None
    source_dir: str = "/"


class FileVertex:
    """Actions one after the other, beginning with `base` (None = scratch). Relative paths are below `directory`."""

    def __init__(self, base: AnyOutput | None, directory: str, steps: Sequence[FileStep], constraints: Constraints) -> None:
        self.base = base
        self.directory = directory
        self.steps = tuple(steps)
        self.constraints = constraints
        constraints.need(Cap.FILE_BASE)

    def inputs(self) -> Sequence[AnyOutput]:
        """The base, then the sources, last action first: the order of the Go client."""
        found: dict[int, AnyOutput] = {}
        for step in reversed(self.steps):
            for output in (self.base, step.source):
                if output is not None:
                    found.setdefault(id(output), output)
        return list(found.values())

    def op(self, context: Context) -> ops.Op:
        inputs = _InputList(context)
        placed: list[tuple[int, int]] = []
        for step in self.steps:
            base = inputs.add(self.base)
            placed.append((base, inputs.add(step.source)))
        actions = [
            ops.FileAction(
                input=base if n == 0 else len(inputs.items) + n - 1,
                secondary_input=secondary,
                output=0 if n == len(self.steps) - 1 else ops.SKIP,
                action=self._placed(step, base),
            )
            for n, (step, (base, secondary)) in enumerate(zip(self.steps, placed, strict=True))
        ]
        return ops.Op(kind=ops.FileOp(actions=tuple(actions)), inputs=tuple(inputs.items))

    def _placed(self, step: FileStep, base: int) -> ops.Action:
        """The action with absolute paths and with names of owners looked up in the base."""
        match action := step.action:
            case ops.Copy():
                src = clean_path(action.src)
                src = clean_path(src) if is_absolute(src) else join_path(step.source_dir, src)
                dest = _absolute(self.directory, action.dest, keep_slash=True)
                return replace(action, src=src, dest=dest, owner=_chown(action.owner, base))
            case ops.MkFile() | ops.MkDir():
                path = _absolute(self.directory, action.path, keep_slash=False)
                return replace(action, path=path, owner=_chown(action.owner, base))
            case ops.Rm():
                return replace(action, path=_absolute(self.directory, action.path, keep_slash=False))
            case ops.Symlink():
                return replace(action, owner=_chown(action.owner, base))


def _absolute(directory: str, path: str, *, keep_slash: bool) -> str:
    cleaned = clean_path(path)
    if not is_absolute(cleaned):
        cleaned = join_path("/", directory, cleaned)
    if keep_slash:
        if path.endswith("/") and not cleaned.endswith("/"):
            cleaned += "/"
        elif path.endswith("/."):
            cleaned += "." if cleaned == "/" else "/."
    return cleaned


def _chown(chown: ops.Chown | None, base: int) -> ops.Chown | None:
    if chown is None:
        return None
    return ops.Chown(user=_owner(chown.user, base), group=_owner(chown.group, base))


def _owner(owner: ops.Owner | None, base: int) -> ops.Owner | None:
    return replace(owner, input=base) if owner is not None and owner.name else owner


class _InputList:
    """Inputs of an op, each once."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.items: list[ops.Input] = []

    def add(self, output: AnyOutput | None) -> int:
        resolved = output.resolve() if output is not None else None
        if resolved is None:
            return ops.EMPTY
        item = self.context.input(resolved)
        if item not in self.items:
            self.items.append(item)
        return self.items.index(item)


class MergeVertex:
    """Layers of several outputs, later ones above."""

    def __init__(self, outputs: Sequence[AnyOutput], constraints: Constraints) -> None:
        self.outputs = tuple(outputs)
        self.constraints = constraints
        constraints.need(Cap.MERGE_OP)

    def inputs(self) -> Sequence[AnyOutput]:
        return self.outputs

    def op(self, context: Context) -> ops.Op:
        resolved = [o for o in (output.resolve() for output in self.outputs) if o is not None]
        inputs = tuple(context.input(o) for o in resolved)
        return ops.Op(kind=ops.MergeOp(inputs=tuple(range(len(inputs)))), inputs=inputs)


class DefinitionVertex:
    """An op that came ready-made in a definition (a frontend input). It is passed on as it is."""

    def __init__(self, digest: str, data: bytes, needs: "Sequence[Output]", constraints: Constraints) -> None:
        self.digest = digest
        self.data = data
        self.needs = needs
        self.constraints = constraints

    def inputs(self) -> Sequence[AnyOutput]:
        return self.needs

    def op(self, context: Context) -> ops.Op:
        raise AssertionError("a ready-made op is not made again")
