"""A definition: ops, what is said about them, and the sources they came from (pb.Definition).

`decode_definition` is the door for what clients, frontends and the bus send: everything in it is checked before anybody
follows an index or a digest (reference: solver/llbsolver/vertex.go loadLLB).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from shared.errors import InvalidInput
from shared.llb.codec import decode_op, op_digest
from shared.llb.ops import Input, Op
from shared.llb.validate import output_count, validate_op
from shared.model import Digest, ProgressGroup, SourcePosition, SourceRange
from shared.pb import ops_pb2 as pb

MAX_DEFINITION = 64 << 20
MAX_OPS = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """Limits of an exec's cgroup; 0 and "" = not set. Not part of any cache key."""

    memory: int = 0
    memory_swap: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """What is said about an op and is not part of its identity. `export_cache` None = nothing said."""

    ignore_cache: bool = False
    description: Mapping[str, str] = field(default_factory=dict)
    export_cache: bool | None = None
    caps: Mapping[str, bool] = field(default_factory=dict)
    progress_group: ProgressGroup | None = None
    resources: Resources | None = None

    @property
    def custom_name(self) -> str:
        """The name given by the frontend, "" when there is none."""
        return self.description.get("llb.customname", "")


NO_METADATA = Metadata()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFile:
    """A text that ops came from; `definition` = marshaled pb.Definition that loads it, b"" = unknown."""

    filename: str
    data: bytes = b""
    language: str = ""
    definition: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceLocation:
    """Lines of the source file with this index."""

    source: int
    ranges: tuple[SourceRange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """Ops by digest, inputs before the ops that use them; `data` has their bytes. `result` None = scratch.

    `pointer` is the last element as received; its digest may carry metadata too.
    """

    ops: Mapping[Digest, Op] = field(default_factory=dict)
    data: Mapping[Digest, bytes] = field(default_factory=dict)
    result: Input | None = None
    pointer: bytes = b""
    metadata: Mapping[Digest, Metadata] = field(default_factory=dict)
    sources: tuple[SourceFile, ...] = ()
    locations: Mapping[Digest, tuple[SourceLocation, ...]] = field(default_factory=dict)

    def about(self, digest: Digest) -> Metadata:
        """The metadata of an op, empty when there is none."""
        return self.metadata.get(digest, NO_METADATA)


def decode_definition(data: bytes) -> Definition:
    """Raises InvalidInput for anything that does not hold together: bytes, digests, indexes, enums, missing or cyclic inputs."""
    if len(data) > MAX_DEFINITION:
        raise InvalidInput(f"definition of {len(data)} bytes is larger than the allowed {MAX_DEFINITION}")
    message = pb.Definition()
    try:
        message.ParseFromString(data)
    except Exception as error:
        raise InvalidInput(f"failed to parse llb definition: {error}") from error
    raw = getattr(message, "def")
    if not raw:
        return Definition()
    if len(raw) < 2:
        for missing in decode_op(raw[0]).inputs:
            raise InvalidInput(f"invalid missing input digest {missing.digest}")
        raise InvalidInput(f"invalid LLB with {len(raw)} vertexes")
    if len(raw) > MAX_OPS:
        raise InvalidInput(f"invalid LLB with {len(raw)} vertexes, more than the allowed {MAX_OPS}")
    pointer = decode_op(raw[-1])
    if pointer.kind is not None or len(pointer.inputs) != 1:
        raise InvalidInput("invalid LLB: the last element does not name one result")
    return _checked(message, list(raw), pointer.inputs[0])


def _checked(message: pb.Definition, raw: list[bytes], result: Input) -> Definition:
    data = {op_digest(b): b for b in raw[:-1]}
    ops = {digest: decode_op(b) for digest, b in data.items()}
    for digest, op in ops.items():
        try:
            if op.kind is None:
                raise InvalidInput("operation without a kind")
            validate_op(op)
        except InvalidInput as error:
            raise error.prefixed(f"invalid LLB vertex {digest}") from None
    ordered = _ordered(ops, result)
    sources = tuple(_source_file(info) for info in message.Source.infos)
    return Definition(
        ops={digest: ops[digest] for digest in ordered},
        data={digest: data[digest] for digest in ordered},
        result=result,
        pointer=raw[-1],
        metadata={Digest(d): _metadata_from_pb(m) for d, m in message.metadata.items()},
        sources=sources,
        locations=_locations(message.Source, len(sources)),
    )


def _ordered(ops: Mapping[Digest, Op], result: Input) -> list[Digest]:
    """Digests that the result needs, inputs first. Raises InvalidInput for an input that is missing; a cycle can't be built
    from digests, but is refused all the same."""
    done: dict[Digest, bool] = {}
    order: list[Digest] = []
    stack: list[tuple[Input, bool]] = [(result, False)]
    while stack:
        edge, leaving = stack.pop()
        digest = edge.digest
        if leaving:
            done[digest] = True
            order.append(digest)
            continue
        op = ops.get(digest)
        if op is None:
            raise InvalidInput(f"invalid missing input digest {digest}")
        _check_index(edge, op)
        if digest in done:
            if not done[digest]:
                raise InvalidInput(f"invalid LLB: {digest} depends on itself")
            continue
        done[digest] = False
        stack.append((edge, True))
        stack.extend((i, False) for i in reversed(op.inputs))
    return order


def _check_index(edge: Input, op: Op) -> None:
    count = output_count(op)
    if edge.index >= max(count, 1):
        raise InvalidInput(f"invalid LLB: output index {edge.index} of {edge.digest}, which has {count} outputs")


def _metadata_from_pb(message: pb.OpMetadata) -> Metadata:
    group = message.progress_group
    limits = message.linux_resources
    return Metadata(
        ignore_cache=message.ignore_cache,
        description=dict(message.description),
        export_cache=message.export_cache.Value if message.HasField("export_cache") else None,
        caps=dict(message.caps),
        progress_group=ProgressGroup(id=group.id, name=group.name, weak=group.weak) if message.HasField("progress_group") else None,
        resources=_resources_from_pb(limits) if message.HasField("linux_resources") else None,
    )


def _resources_from_pb(message: pb.LinuxResources) -> Resources:
    return Resources(
        memory=message.memory,
        memory_swap=message.memorySwap,
        cpu_shares=message.cpuShares,
        cpu_period=message.cpuPeriod,
        cpu_quota=message.cpuQuota,
        cpuset_cpus=message.cpusetCpus,
        cpuset_mems=message.cpusetMems,
    )


def _source_file(info: pb.SourceInfo) -> SourceFile:
    definition = info.definition.SerializeToString(deterministic=True) if info.HasField("definition") else b""
    return SourceFile(filename=info.filename, data=info.data, language=info.language, definition=definition)


def _locations(source: pb.Source, count: int) -> dict[Digest, tuple[SourceLocation, ...]]:
    out: dict[Digest, tuple[SourceLocation, ...]] = {}
    for digest, locations in source.locations.items():
        for location in locations.locations:
            if not 0 <= location.sourceIndex < count:
                raise InvalidInput(f"failed to find source map with index {location.sourceIndex}")
        out[Digest(digest)] = tuple(
            SourceLocation(source=loc.sourceIndex, ranges=tuple(_range(r) for r in loc.ranges)) for loc in locations.locations
        )
    return out


def _range(message: pb.Range) -> SourceRange:
    start, end = message.start, message.end
    return _between(start.line, start.character, end.line, end.character)


@lru_cache(maxsize=4096)
def _between(line: int, character: int, end_line: int, end_character: int) -> SourceRange:
    """The same few lines are said of most ops."""
    return SourceRange(
        start=SourcePosition(line=line, character=character),
        end=SourcePosition(line=end_line, character=end_character),
    )


def encode_definition(definition: Definition) -> bytes:
    """Marshaled pb.Definition, fields and maps in order."""
    message = pb.Definition()
    raw = getattr(message, "def")
    raw.extend(definition.data.values())
    if definition.pointer:
        raw.append(definition.pointer)
    for digest, metadata in definition.metadata.items():
        _metadata_to_pb(metadata, message.metadata[digest])
    if definition.sources or definition.locations:
        message.Source.SetInParent()
    for source in definition.sources:
        info = message.Source.infos.add(filename=source.filename, data=source.data, language=source.language)
        if source.definition:
            info.definition.ParseFromString(source.definition)
    for digest, locations in definition.locations.items():
        _locations_to_pb(locations, message.Source.locations[digest])
    return message.SerializeToString(deterministic=True)


def _text(value: str) -> str:
    """Bytes that are no text become U+FFFD: descriptions are for people, and protobuf has no place for them."""
    return value if value.isascii() else value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _metadata_to_pb(metadata: Metadata, message: pb.OpMetadata) -> None:
    message.ignore_cache = metadata.ignore_cache
    message.description.update({key: _text(value) for key, value in metadata.description.items()})
    if metadata.export_cache is not None:
        message.export_cache.SetInParent()
        message.export_cache.Value = metadata.export_cache
    message.caps.update(metadata.caps)
    if (group := metadata.progress_group) is not None:
        message.progress_group.SetInParent()
        message.progress_group.id, message.progress_group.name = group.id, group.name
        message.progress_group.weak = group.weak
    if (limits := metadata.resources) is not None:
        message.linux_resources.CopyFrom(
            pb.LinuxResources(
                memory=limits.memory,
                memorySwap=limits.memory_swap,
                cpuShares=limits.cpu_shares,
                cpuPeriod=limits.cpu_period,
                cpuQuota=limits.cpu_quota,
                cpusetCpus=limits.cpuset_cpus,
                cpusetMems=limits.cpuset_mems,
            )
        )


def _locations_to_pb(locations: tuple[SourceLocation, ...], message: pb.Locations) -> None:
    for location in locations:
        target = message.locations.add(sourceIndex=location.source)
        for r in location.ranges:
            added = target.ranges.add()
            added.start.SetInParent()
            added.start.line, added.start.character = r.start.line, r.start.character
            added.end.SetInParent()
            added.end.line, added.end.character = r.end.line, r.end.character
