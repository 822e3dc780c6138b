"""The stages of a Dockerfile (frontend/subrequests/targets)."""

import base64
from typing import Any

from services.frontend.core.dockerfile.linter import Linter
from services.frontend.core.dockerfile.parser import parse
from services.frontend.core.dockerfile.stages import Stage, parse_stages
from services.frontend.core.subrequests.places import location_json
from services.frontend.core.subrequests.tables import table
from shared.oci import go_json_indent


def answer_targets(data: bytes) -> dict[str, bytes]:
    """Base names as written, nothing resolved. Raises DockerfileError."""
    stages = parse_stages(parse(data), Linter()).stages
    rows = [_target(stage, default=stage is stages[-1]) for stage in stages]
    doc = {"targets": rows or None, "sources": [base64.b64encode(data).decode()]}
    lines = [f"{_shown(row)}\t{row.get('description', '')}\n" for row in rows]
    text = table("TARGET\tDESCRIPTION\n" + "".join(lines), 1)
    return {"result.json": go_json_indent(doc), "result.txt": text.encode("utf-8", "surrogateescape"), "version": b"1.0.0"}


def _target(stage: Stage, *, default: bool) -> dict[str, Any]:
    row = {
        "name": stage.name,
        "default": default,
        "description": stage.description,
        "base": stage.base,
        "platform": stage.platform,
        "location": location_json(stage.location) if stage.location else None,
    }
    return {key: value for key, value in row.items() if value or (key == "location" and value is not None)}


def _shown(row: dict[str, Any]) -> str:
    name = row.get("name", "")
    if not row.get("default"):
        return str(name)
    return f"{name} (default)" if name else "(default)"
