"""One op: bytes ↔ value. Bytes come out as Go's deterministic protobuf marshalling gives them (client/llb/marshal.go).

Fields are in the order of their numbers and maps sorted by key in both; an empty message that Go sets (constraints) is written.
"""

from functools import lru_cache

from shared.errors import InvalidInput
from shared.llb import ops
from shared.llb.codec_exec import exec_from_pb, exec_to_pb
from shared.llb.codec_file import file_from_pb, file_to_pb
from shared.model import Digest, Platform, is_digest, sha256_digest
from shared.pb import ops_pb2 as pb

MAX_OP = 16 << 20
"""Bytes of one op: the limit of one gRPC message; it can hold a file's content."""

MAX_INPUTS = 10_000

_SHORT = 2048
_REMEMBERED = 2048
"""Of so many ops of so few bytes the value is kept: platforms of one build, builds of one file and their executors share most ops."""


def op_digest(data: bytes) -> Digest:
    """The identity of an op: the digest of its bytes as received."""
    return sha256_digest(data)


def encode_op(op: ops.Op) -> bytes:
    """The bytes of `op`. Raises InvalidInput for text that is not UTF-8 or numbers out of range.

    Go writes members of a oneof after all other fields, so the kind comes last although its number is lower than platform's.
    """
    rest, kind = pb.Op(), pb.Op()
    try:
        for i in op.inputs:
            rest.inputs.add(digest=i.digest, index=i.index)
        if op.platform is not None:
            rest.platform.CopyFrom(_platform_to_pb(op.platform))
        if op.constraints is not None:
            rest.constraints.SetInParent()
            rest.constraints.filter.extend(op.constraints)
        _kind_to_pb(op.kind, kind)
        return rest.SerializeToString(deterministic=True) + kind.SerializeToString(deterministic=True)
    except (UnicodeError, ValueError) as error:
        raise InvalidInput(_reason(error)) from error


def _reason(error: Exception) -> str:
    return "string field contains invalid UTF-8" if isinstance(error, UnicodeError) else str(error)


def decode_op(data: bytes) -> ops.Op:
    """The op in `data`. Raises InvalidInput for bytes that are no op, malformed digests and unknown enum values."""
    if len(data) > MAX_OP:
        raise InvalidInput(f"operation of {len(data)} bytes is larger than the allowed {MAX_OP}")
    return _remembered(data) if len(data) <= _SHORT else _decoded(data)


def _decoded(data: bytes) -> ops.Op:
    message = pb.Op()
    try:
        message.ParseFromString(data)
    except Exception as error:  # DecodeError, whichever protobuf implementation is loaded
        raise InvalidInput(f"failed to parse llb proto op: {error}") from error
    if len(message.inputs) > MAX_INPUTS:
        raise InvalidInput(f"operation with {len(message.inputs)} inputs")
    return ops.Op(
        kind=_kind_from_pb(message),
        inputs=tuple(_input(i) for i in message.inputs),
        platform=_platform_from_pb(message.platform) if message.HasField("platform") else None,
        constraints=tuple(message.constraints.filter) if message.HasField("constraints") else None,
    )


_remembered = lru_cache(maxsize=_REMEMBERED)(_decoded)


def encode_source_op(source: ops.SourceOp) -> bytes:
    """Marshaled pb.SourceOp."""
    return pb.SourceOp(identifier=source.identifier, attrs=dict(source.attrs)).SerializeToString(deterministic=True)


def decode_source_op(data: bytes) -> ops.SourceOp:
    """The reverse. Raises InvalidInput."""
    message = pb.SourceOp()
    try:
        message.ParseFromString(data)
    except Exception as error:
        raise InvalidInput(f"failed to parse source op: {error}") from error
    return ops.SourceOp(identifier=message.identifier, attrs=dict(message.attrs))


def _input(message: pb.Input) -> ops.Input:
    if not is_digest(message.digest):
        raise InvalidInput(f"invalid input digest {message.digest[:100]!r}")
    if message.index < 0:
        raise InvalidInput(f"invalid input index {message.index} of {message.digest}")
    return ops.Input(digest=Digest(message.digest), index=message.index)


def _platform_to_pb(platform: Platform) -> pb.Platform:
    return pb.Platform(
        Architecture=platform.architecture,
        OS=platform.os,
        Variant=platform.variant,
        OSVersion=platform.os_version,
        OSFeatures=list(platform.os_features),
    )


def _platform_from_pb(message: pb.Platform) -> Platform:
    return Platform(
        os=message.OS,
        architecture=message.Architecture,
        variant=message.Variant,
        os_version=message.OSVersion,
        os_features=tuple(message.OSFeatures),
    )


def _kind_to_pb(kind: ops.Kind | None, message: pb.Op) -> None:
    match kind:
        case ops.ExecOp():
            exec_to_pb(kind, message.exec)
        case ops.SourceOp():
            message.source.identifier = kind.identifier
            message.source.attrs.update(kind.attrs)
            message.source.SetInParent()
        case ops.FileOp():
            file_to_pb(kind, message.file)
        case ops.BuildOp():
            _build_to_pb(kind, message.build)
        case ops.MergeOp():
            message.merge.SetInParent()
            for i in kind.inputs:
                message.merge.inputs.add(input=i)
        case ops.DiffOp():
            message.diff.lower.input = kind.lower
            message.diff.lower.SetInParent()
            message.diff.upper.input = kind.upper
            message.diff.upper.SetInParent()
        case ops.PassthroughOp():
            message.passthrough.id = kind.id
            message.passthrough.outputs.extend(kind.outputs)
            message.passthrough.SetInParent()
        case None:
            pass


def _build_to_pb(kind: ops.BuildOp, message: pb.BuildOp) -> None:
    message.SetInParent()
    message.builder = kind.builder
    for name, index in kind.inputs.items():
        message.inputs[name].input = index
    if kind.definition:
        getattr(message, "def").ParseFromString(kind.definition)
    message.attrs.update(kind.attrs)


def _kind_from_pb(message: pb.Op) -> ops.Kind | None:
    match message.WhichOneof("op"):
        case "exec":
            return exec_from_pb(message.exec)
        case "source":
            return ops.SourceOp(identifier=message.source.identifier, attrs=dict(message.source.attrs))
        case "file":
            return file_from_pb(message.file)
        case "build":
            return _build_from_pb(message.build)
        case "merge":
            return ops.MergeOp(inputs=tuple(i.input for i in message.merge.inputs))
        case "diff":
            return _diff_from_pb(message.diff)
        case "passthrough":
            return ops.PassthroughOp(id=message.passthrough.id, outputs=tuple(message.passthrough.outputs))
        case _:
            return None


def _diff_from_pb(message: pb.DiffOp) -> ops.DiffOp:
    if not message.HasField("lower") or not message.HasField("upper"):
        raise InvalidInput("invalid diff op: lower and upper are both needed")
    return ops.DiffOp(lower=message.lower.input, upper=message.upper.input)


def _build_from_pb(message: pb.BuildOp) -> ops.BuildOp:
    nested = getattr(message, "def")
    return ops.BuildOp(
        builder=message.builder,
        inputs={name: i.input for name, i in message.inputs.items()},
        definition=nested.SerializeToString(deterministic=True) if message.HasField("def") else b"",
        attrs=dict(message.attrs),
    )
