"""Batches of progress → StatusResponse, and the stored log blob (uint32 little endian length + StatusResponse, repeated)."""

import struct
from collections.abc import Iterable, Iterator

from google.protobuf.timestamp_pb2 import Timestamp

from services.gateway.core.status import Batch
from shared.model import LogChunk, SourceInfo, SourceRange, Status, VertexEvent, Warn
from shared.pb import control_pb2, ops_pb2

_LENGTH = struct.Struct("<I")
_SECOND = 10**9


def status_response(batch: Batch) -> control_pb2.StatusResponse:
    """One message."""
    return control_pb2.StatusResponse(
        vertexes=[_vertex(v) for v in batch.vertexes],
        statuses=[_status(s) for s in batch.statuses],
        logs=[_log(entry) for entry in batch.logs],
        warnings=[_warning(w) for w in batch.warnings],
    )


def timestamp(ns: int) -> Timestamp | None:
    """ns since the epoch; 0 is absent, as clients test for presence."""
    return Timestamp(seconds=ns // _SECOND, nanos=ns % _SECOND) if ns else None


def nanoseconds(message: Timestamp) -> int:
    """The reverse of `timestamp`."""
    return message.seconds * _SECOND + message.nanos


def pack_log(messages: Iterable[bytes]) -> bytes:
    """Marshalled StatusResponses as one blob."""
    return b"".join(part for m in messages for part in (_LENGTH.pack(len(m)), m))


def unpack_log(blob: bytes) -> Iterator[bytes]:
    """The messages of such a blob; a torn end is left out."""
    at = 0
    while at + _LENGTH.size <= len(blob):
        (length,) = _LENGTH.unpack_from(blob, at)
        at += _LENGTH.size
        if at + length > len(blob):
            return
        yield blob[at : at + length]
        at += length


def source_info(info: SourceInfo) -> ops_pb2.SourceInfo:
    """With its definition, if it has one."""
    message = ops_pb2.SourceInfo(filename=info.filename, data=info.data, language=info.language)
    if info.definition:
        message.definition.ParseFromString(info.definition)
    return message


def source_range(found: SourceRange) -> ops_pb2.Range:
    """Start and end always present: clients dereference both."""
    return ops_pb2.Range(
        start=ops_pb2.Position(line=found.start.line, character=found.start.character),
        end=ops_pb2.Position(line=found.end.line, character=found.end.character),
    )


def _vertex(vertex: VertexEvent) -> control_pb2.Vertex:
    group = vertex.group
    return control_pb2.Vertex(
        digest=vertex.digest,
        inputs=vertex.inputs,
        name=vertex.name,
        cached=vertex.cached,
        started=timestamp(vertex.started),
        completed=timestamp(vertex.completed),
        error=vertex.error,
        progressGroup=ops_pb2.ProgressGroup(id=group.id, name=group.name, weak=group.weak) if group else None,
    )


def _status(status: Status) -> control_pb2.VertexStatus:
    return control_pb2.VertexStatus(
        ID=status.id,
        vertex=status.vertex,
        name=status.name,
        current=status.current,
        total=status.total,
        timestamp=timestamp(status.timestamp or 1),
        started=timestamp(status.started),
        completed=timestamp(status.completed),
    )


def _log(entry: LogChunk) -> control_pb2.VertexLog:
    return control_pb2.VertexLog(vertex=entry.vertex, stream=entry.stream, msg=entry.data, timestamp=timestamp(entry.timestamp or 1))


def _warning(warning: Warn) -> control_pb2.VertexWarning:
    return control_pb2.VertexWarning(
        vertex=warning.vertex,
        level=warning.level,
        short=warning.short,
        detail=warning.detail,
        url=warning.url,
        info=source_info(warning.info) if warning.info else None,
        ranges=[source_range(r) for r in warning.ranges],
    )
