"""What a target can be given: build args, secrets, ssh keys (frontend/subrequests/outline, dockerfile2llb/outline.go)."""

import base64
from collections.abc import Callable, Mapping
from typing import Any

from services.frontend.core.failure import Location
from services.frontend.core.requests import Asking
from services.frontend.core.subrequests.places import location_json
from services.frontend.core.subrequests.tables import table
from services.frontend.core.to_llb.convert import Conversion, Converted, convert
from services.frontend.core.to_llb.outline_capture import Needed
from services.frontend.core.to_llb.stage_state import StageState
from shared.oci import go_json_indent

Row = tuple[int, dict[str, Any]]
"""Line of the declaration, and the JSON object."""


def answer_outline(conversion: Conversion) -> Asking[dict[str, bytes]]:
    converted: Converted = yield from convert(conversion)
    stage = converted.stage
    doc = {
        "name": stage.stage.name,
        "description": stage.stage.description,
        "args": _sorted(_walk(stage, _args)),
        "secrets": _sorted(_walk(stage, lambda s, seen: _needed(s.outline.secrets, seen))),
        "ssh": _sorted(_walk(stage, lambda s, seen: _needed(s.outline.ssh, seen))),
        "sources": [base64.b64encode(conversion.source_map.data).decode()],
    }
    doc = {key: value for key, value in doc.items() if value}
    return {"result.json": go_json_indent(doc), "result.txt": _text(doc).encode("utf-8", "surrogateescape"), "version": b"1.0.0"}


def _walk(stage: StageState, rows_of: Callable[[StageState, set[str]], list[Row]]) -> list[Row]:
    """The stage, its base, then what it takes files from; each name once, each stage once."""
    seen: set[str] = set()
    visited: set[StageState] = set()
    rows: list[Row] = []
    stack = [stage]
    while stack:
        current = stack.pop()
        if current in visited:
            continue
        visited.add(current)
        rows += rows_of(current, seen)
        stack.extend(reversed(current.deps))
        if current.base is not None:
            stack.append(current.base)
    return rows


def _args(stage: StageState, seen: set[str]) -> list[Row]:
    outline = stage.outline
    outline.use_dependencies()
    rows: list[Row] = []
    for name in outline.used_args:
        info = outline.all_args.get(name)
        if info is None or name in seen:
            continue
        seen.add(name)
        row = {"name": info.declaration.key, "description": info.declaration.description, "value": info.value}
        rows.append(_row(row, info.location))
    return rows


def _needed(found: Mapping[str, Needed], seen: set[str]) -> list[Row]:
    rows = [_row({"name": name, "required": need.required}, need.location) for name, need in found.items() if name not in seen]
    seen.update(found)
    return rows


def _row(fields: dict[str, Any], location: Location) -> Row:
    doc = {key: value for key, value in fields.items() if value or key == "name"}
    if location:
        doc["location"] = location_json(location)
    return (location[0].start if location else 0), doc


def _sorted(rows: list[Row]) -> list[dict[str, Any]]:
    return [doc for _, doc in sorted(rows, key=lambda row: row[0])]


def _text(doc: Mapping[str, Any]) -> str:
    parts: list[str] = []
    if doc.get("name") or doc.get("description"):
        described = f"DESCRIPTION:\t{doc['description']}\n" if doc.get("description") else ""
        parts.append(table(f"TARGET:\t{doc.get('name') or '(default)'}\n{described}", 1))
    if doc.get("args"):
        rows = [f"{a['name']}\t{a.get('value', '')}\t{a.get('description', '')}\n" for a in doc["args"]]
        parts.append(table("BUILD ARG\tVALUE\tDESCRIPTION\n" + "".join(rows), 3))
    for key, title in (("secrets", "SECRET"), ("ssh", "SSH")):
        if doc.get(key):
            rows = [f"{s['name']}\t{'true' if s.get('required') else ''}\n" for s in doc[key]]
            parts.append(table(f"{title}\tREQUIRED\n" + "".join(rows), 3))
    return "".join(part + "\n" for part in parts)
