"""From a state to a definition (client/llb/state.go Marshal)."""

from dataclasses import dataclass, field

from shared.errors import InvalidInput
from shared.llb.caps import Cap
from shared.llb.codec import encode_op, op_digest
from shared.llb.definition import MAX_DEFINITION, Definition, Metadata, SourceFile, SourceLocation
from shared.llb.ops import Input, Op
from shared.llb.state import State
from shared.llb.vertices import Constraints, DefinitionVertex, Output, Place, SourceMap, Vertex
from shared.model import Digest, Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class MarshalDefaults:
    """`platform` of ops that have none; `local_unique_id` of local sources without a session; `with_caps` as in Context."""

    platform: Platform
    local_unique_id: str = ""
    with_caps: bool = True


@dataclass(slots=True)
class _Graph:
    defaults: MarshalDefaults
    digests: dict[Vertex, Digest] = field(default_factory=dict)
    data: dict[Digest, bytes] = field(default_factory=dict)
    metadata: dict[Digest, Metadata] = field(default_factory=dict)
    places: dict[Digest, list[Place]] = field(default_factory=dict)
    size: int = 0

    @property
    def platform(self) -> Platform:
        return self.defaults.platform

    @property
    def local_unique_id(self) -> str:
        return self.defaults.local_unique_id

    @property
    def with_caps(self) -> bool:
        return self.defaults.with_caps

    def input(self, output: Output) -> Input:
        return Input(digest=self.digests[output.vertex], index=output.number())

    def add(self, root: Vertex) -> None:
        """Marshals `root` and all that it needs, inputs first. Without recursion: chains are long."""
        stack: list[tuple[Vertex, bool]] = [(root, False)]
        while stack:
            vertex, ready = stack.pop()
            if vertex in self.digests:
                continue
            if ready:
                self._store(vertex)
                continue
            stack.append((vertex, True))
            outputs = (output.resolve() for output in reversed(vertex.inputs()))
            stack.extend((o.vertex, False) for o in outputs if o is not None and o.vertex not in self.digests)

    def _store(self, vertex: Vertex) -> None:
        if isinstance(vertex, DefinitionVertex):
            data, digest = vertex.data, Digest(vertex.digest)
        else:
            data = encode_op(vertex.op(self))
            digest = op_digest(data)
        self.digests[vertex] = digest
        constraints = vertex.constraints
        self.metadata[digest] = _merged(self.metadata.get(digest), constraints)
        self.places.setdefault(digest, []).extend(constraints.places)
        if digest not in self.data:
            self.data[digest] = data
            self.size += len(data)
            if self.size > MAX_DEFINITION:
                raise InvalidInput(f"the definition is larger than the allowed {MAX_DEFINITION} bytes")


def _merged(before: Metadata | None, constraints: Constraints) -> Metadata:
    if before is None:
        before = Metadata()
    return Metadata(
        ignore_cache=before.ignore_cache or constraints.ignore_cache,
        description={**before.description, **constraints.description},
        export_cache=before.export_cache if constraints.export_cache is None else constraints.export_cache,
        caps={**before.caps, **constraints.caps},
        progress_group=constraints.progress_group or before.progress_group,
        resources=constraints.resources or before.resources,
    )


def marshal(state: State, defaults: MarshalDefaults) -> Definition:
    """The definition of the state's tree; empty for scratch."""
    output = state.output.resolve() if state.output is not None else None
    if output is None:
        return Definition()
    graph = _Graph(defaults)
    graph.add(output.vertex)
    result = graph.input(output)
    pointer = encode_op(Op(kind=None, inputs=(result,), constraints=None))
    caps = {Cap.CONSTRAINTS.value: True, Cap.PLATFORM.value: True}
    for metadata in graph.metadata.values():
        if metadata.ignore_cache:
            caps[Cap.META_IGNORE_CACHE.value] = True
        if metadata.description:
            caps[Cap.META_DESCRIPTION.value] = True
        if metadata.export_cache is not None:
            caps[Cap.META_EXPORT_CACHE.value] = True
    sources, locations = _source_maps(graph.places)
    return Definition(
        data=graph.data,
        result=result,
        pointer=pointer,
        metadata={**graph.metadata, op_digest(pointer): Metadata(caps=caps)},
        sources=sources,
        locations=locations,
    )


def _source_maps(places: dict[Digest, list[Place]]) -> tuple[tuple[SourceFile, ...], dict[Digest, tuple[SourceLocation, ...]]]:
    index: dict[int, int] = {}
    maps: list[SourceMap] = []
    locations: dict[Digest, tuple[SourceLocation, ...]] = {}
    for digest, found in places.items():
        for place in found:
            if id(place.source) not in index:
                index[id(place.source)] = maps.index(place.source) if place.source in maps else len(maps)
                if index[id(place.source)] == len(maps):
                    maps.append(place.source)
        locations[digest] = tuple(SourceLocation(source=index[id(p.source)], ranges=p.ranges) for p in found)
    files = tuple(SourceFile(filename=m.filename, data=m.data, language=m.language, definition=m.definition) for m in maps)
    return files, locations
