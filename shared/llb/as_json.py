"""Definitions as JSON: the way Go's encoding/json writes the generated structs, and protobuf's own JSON for single ops."""

import base64
from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format

from shared.llb.codec import op_digest
from shared.llb.definition import Definition, Metadata, encode_definition
from shared.pb import ops_pb2 as pb


def definition_json(definition: Definition) -> dict[str, Any]:
    """pb.Definition by encoding/json: bytes as base64, empty fields left out, maps sorted."""
    ops = [*definition.data.values(), *([definition.pointer] if definition.pointer else [])]
    doc: dict[str, Any] = {
        "def": [base64.b64encode(data).decode() for data in ops],
        "metadata": {digest: _metadata(definition.metadata[digest]) for digest in sorted(definition.metadata)},
    }
    doc = {key: value for key, value in doc.items() if value}
    if ops:
        doc["Source"] = _source(definition)
    return doc


def _without_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if value}


def _metadata(metadata: Metadata) -> dict[str, Any]:
    group, limits = metadata.progress_group, metadata.resources
    doc = _without_empty({"ignore_cache": metadata.ignore_cache, "description": dict(sorted(metadata.description.items()))})
    if metadata.export_cache is not None:
        doc["export_cache"] = _without_empty({"Value": metadata.export_cache})
    doc |= _without_empty({"caps": dict(sorted(metadata.caps.items()))})
    if group is not None:
        doc["progress_group"] = _without_empty({"id": group.id, "name": group.name, "weak": group.weak})
    if limits is not None:
        doc["linux_resources"] = _without_empty(
            {
                "memory": limits.memory,
                "memorySwap": limits.memory_swap,
                "cpuShares": limits.cpu_shares,
                "cpuPeriod": limits.cpu_period,
                "cpuQuota": limits.cpu_quota,
                "cpusetCpus": limits.cpuset_cpus,
                "cpusetMems": limits.cpuset_mems,
            }
        )
    return doc


def _source(definition: Definition) -> dict[str, Any]:
    locations = {
        digest: _without_empty({"locations": [_location(loc) for loc in definition.locations[digest]]})
        for digest in sorted(definition.locations)
    }
    infos = [
        _without_empty(
            {"filename": s.filename, "data": base64.b64encode(s.data).decode(), "language": s.language},
        )
        for s in definition.sources
    ]
    return _without_empty({"locations": locations, "infos": infos})


def _location(location: Any) -> dict[str, Any]:
    ranges = [
        {
            "start": _without_empty({"line": r.start.line, "character": r.start.character}),
            "end": _without_empty({"line": r.end.line, "character": r.end.character}),
        }
        for r in location.ranges
    ]
    return _without_empty({"sourceIndex": location.source, "ranges": ranges})


def convert_json(definition: Definition) -> dict[str, Any]:
    """`{def, metadata, source}`: ops by digest in protobuf's JSON, metadata as in definition_json."""
    message = pb.Definition()
    message.ParseFromString(encode_definition(definition))
    pointer = {op_digest(definition.pointer): definition.pointer} if definition.pointer else {}
    ops = {**definition.data, **pointer}
    return {
        "def": {digest: op_json(ops[digest]) for digest in sorted(ops)},
        "metadata": {digest: _metadata(definition.metadata[digest]) for digest in sorted(definition.metadata)},
        "source": _sorted_maps(json_format.MessageToDict(message.Source)),
    }


_MAPS = frozenset(("attrs", "caps", "description", "locations", "metadata"))
"""Fields that are maps; protobuf's JSON has their keys sorted."""


def _sorted_maps(value: Any) -> Any:
    match value:
        case dict():
            pairs = [(key, _sorted_maps(item)) for key, item in value.items()]
            return {key: dict(sorted(item.items())) if key in _MAPS and isinstance(item, dict) else item for key, item in pairs}
        case list():
            return [_sorted_maps(item) for item in value]
    return value


def op_json(data: bytes) -> dict[str, Any]:
    """A marshaled pb.Op in protobuf's JSON."""
    message = pb.Op()
    message.ParseFromString(data)
    return dict(_sorted_maps(json_format.MessageToDict(message)))
