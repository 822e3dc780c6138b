"""One JSON document per response, in the field names of BuildKit's `--progress=rawjson` (client/graph.go SolveStatus)."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any, TextIO

from shared.pb import control_pb2


class RawJsonDisplay:
    def __init__(self, out: TextIO) -> None:
        self._out = out

    def update(self, response: control_pb2.StatusResponse) -> None:
        document = {
            "vertexes": [_vertex(vertex) for vertex in response.vertexes],
            "statuses": [_status(status) for status in response.statuses],
            "logs": [_log(log) for log in response.logs],
            "warnings": [_warning(warning) for warning in response.warnings],
        }
        self._out.write(json.dumps({key: value for key, value in document.items() if value}) + "\n")
        self._out.flush()

    def tick(self) -> None:
        """Nothing moves by itself."""

    def close(self) -> None:
        self._out.flush()


def _time(message: Any, name: str) -> dict[str, str]:
    """The field as RFC 3339 with nanoseconds, or nothing."""
    if not message.HasField(name):
        return {}
    stamp = getattr(message, name)
    whole = datetime.fromtimestamp(stamp.seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return {name: f"{whole}.{stamp.nanos:09d}Z"}


def _vertex(vertex: control_pb2.Vertex) -> dict[str, Any]:
    out: dict[str, Any] = {"digest": vertex.digest, "inputs": list(vertex.inputs), "name": vertex.name}
    out |= _time(vertex, "started") | _time(vertex, "completed")
    return out | ({"cached": True} if vertex.cached else {}) | ({"error": vertex.error} if vertex.error else {})


def _status(status: control_pb2.VertexStatus) -> dict[str, Any]:
    out: dict[str, Any] = {"id": status.ID, "vertex": status.vertex, "name": status.name}
    out |= {"total": status.total, "current": status.current}
    return out | _time(status, "timestamp") | _time(status, "started") | _time(status, "completed")


def _log(log: control_pb2.VertexLog) -> dict[str, Any]:
    data = base64.b64encode(log.msg).decode()
    return {"vertex": log.vertex, "stream": log.stream, "data": data, **_time(log, "timestamp")}


def _warning(warning: control_pb2.VertexWarning) -> dict[str, Any]:
    short = base64.b64encode(warning.short).decode()
    detail = [base64.b64encode(line).decode() for line in warning.detail]
    return {"vertex": warning.vertex, "level": warning.level, "short": short, "detail": detail, "url": warning.url}
