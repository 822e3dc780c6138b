"""Errors ↔ gRPC status, with BuildKit's typed details (util/grpcerrors/grpcerrors.go): each a google.protobuf.Any that holds JSON.

Build failures travel as UNKNOWN, since clients print only the bare message for that code.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from google.rpc import status_pb2

from shared.errors import (
    AlreadyExists,
    BuildFailed,
    BuildmeshError,
    Canceled,
    Code,
    Denied,
    Detail,
    Exhausted,
    Internal,
    InvalidInput,
    NotFound,
    Unavailable,
    Unsupported,
    WorldError,
)
from shared.rpc import metadata

_EXHAUSTED: Final = frozenset({errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE})
_CLASSES: Final[dict[Code, type[BuildmeshError]]] = {
    Code.CANCELED: Canceled,
    Code.UNKNOWN: BuildFailed,
    Code.INVALID_ARGUMENT: InvalidInput,
    Code.NOT_FOUND: NotFound,
    Code.ALREADY_EXISTS: AlreadyExists,
    Code.PERMISSION_DENIED: Denied,
    Code.UNAUTHENTICATED: Denied,
    Code.RESOURCE_EXHAUSTED: Exhausted,
    Code.UNIMPLEMENTED: Unsupported,
    Code.INTERNAL: Internal,
    Code.UNAVAILABLE: Unavailable,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """How a call ended."""

    code: Code
    message: str = ""
    details: tuple[Detail, ...] = ()


OK: Final = Status(code=Code.OK)


def status_of(error: BaseException) -> Status:
    """The status that tells a peer of `error`. What is not of our tree is INTERNAL, and only its kind is told."""
    match error:
        case BuildmeshError():
            code = error.status_code if error.status_code is not Code.OK else Code.UNKNOWN
            return Status(code=code, message=error.message, details=error.details)
        case TimeoutError():
            return Status(code=Code.DEADLINE_EXCEEDED, message="context deadline exceeded")
        case OSError(errno=number) if number in _EXHAUSTED:
            return Status(code=Code.RESOURCE_EXHAUSTED, message=error.strerror or "resource exhausted")
        case OSError() if error.strerror:
            return Status(code=Code.INTERNAL, message=error.strerror)
        case _:
            return Status(code=Code.INTERNAL, message=f"internal error: {type(error).__name__}")


def error_of(status: Status) -> BuildmeshError:
    """The error of our tree for a status that is not OK; its code is kept."""
    kind = _CLASSES.get(status.code, WorldError)
    return kind(status.message, details=status.details, code=status.code)


def pack_details(status: Status) -> bytes:
    """google.rpc.Status, serialized."""
    message = status_pb2.Status(code=int(status.code), message=status.message)
    for detail in status.details:
        message.details.add(type_url=detail.type_url, value=detail.value)
    return bytes(message.SerializeToString())


def unpack_details(data: bytes) -> Status | None:
    """What `pack_details` made; None when the bytes are not a google.rpc.Status."""
    message = status_pb2.Status()
    try:
        message.ParseFromString(data)
    except Exception:  # DecodeError; its module differs between protobuf versions
        return None
    details = tuple(Detail(type_url=d.type_url, value=d.value) for d in message.details)
    return Status(code=_code(message.code), message=message.message, details=details)


def _code(number: int) -> Code:
    try:
        return Code(number)
    except ValueError:
        return Code.UNKNOWN


def to_trailers(status: Status) -> list[tuple[bytes, bytes]]:
    fields = [(b"grpc-status", b"%d" % status.code)]
    if status.message:
        fields.append((b"grpc-message", metadata.percent_encode(status.message)))
    if status.details:
        fields.append((b"grpc-status-details-bin", metadata.encode_binary(pack_details(status)).encode()))
    return fields


def from_trailers(fields: Iterable[tuple[bytes, bytes]]) -> Status | None:
    """The status in trailers (or in a response of headers only); None when there is none."""
    values = dict(fields)
    raw = values.get(b"grpc-status")
    if raw is None:
        return None
    code = _code(int(raw)) if raw.isdigit() else Code.UNKNOWN
    packed = metadata.decode_binary(values.get(b"grpc-status-details-bin", b"").decode("latin-1"))
    full = unpack_details(packed) if packed else None
    details = full.details if full is not None and full.code is code else ()
    return Status(code=code, message=metadata.percent_decode(values.get(b"grpc-message", b"")), details=details)


def from_http(code: bytes) -> Status:
    """The status for a response that isn't gRPC (http-grpc-status-mapping.md of grpc/grpc)."""
    table = {b"400": Code.INTERNAL, b"401": Code.UNAUTHENTICATED, b"403": Code.PERMISSION_DENIED, b"404": Code.UNIMPLEMENTED}
    busy = (b"429", b"502", b"503", b"504")
    mapped = Code.UNAVAILABLE if code in busy else table.get(code, Code.UNKNOWN)
    return Status(code=mapped, message=f"unexpected HTTP status {code.decode('latin-1')}")
