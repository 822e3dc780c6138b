"""All warnings of a Dockerfile, and the error that a build would end with (frontend/subrequests/lint)."""

import base64
from dataclasses import replace
from typing import Any

from services.frontend.core.dockerfile.linter import LintWarning
from services.frontend.core.failure import DockerfileError
from services.frontend.core.requests import Asking
from services.frontend.core.subrequests.places import excerpt, excerpt_lines, location_json, merged
from services.frontend.core.to_llb.convert import Conversion, convert
from shared.llb import SourceMap, decode_definition, definition_json
from shared.oci import go_json_indent


def answer_lint(conversion: Conversion) -> Asking[dict[str, bytes]]:
    """Without a target all stages are looked at. A build error is part of the answer, not a failure."""
    warnings: list[LintWarning] = []
    everything = not conversion.contexts.options.target
    failure: DockerfileError | None = None
    try:
        yield from convert(replace(conversion, warn=warnings.append, all_stages=everything))
    except DockerfileError as error:
        failure = error
    source = conversion.source_map
    doc: dict[str, Any] = {"warnings": [_warning(w) for w in warnings] or None, "sources": [_source(source)]}
    if failure is not None:
        doc["buildError"] = {"message": failure.message, "location": location_json(merged(failure.locations))}
    return {
        "result.json": go_json_indent(doc),
        "result.txt": _text(warnings, source).encode("utf-8", "surrogateescape"),
        "result.statuscode": b"1" if warnings or failure is not None else b"0",
        "version": b"1.0.0",
    }


def _warning(warning: LintWarning) -> dict[str, Any]:
    doc = {
        "ruleName": warning.rule.name,
        "description": warning.rule.description,
        "url": warning.rule.url,
        "detail": warning.message,
    }
    doc = {key: value for key, value in doc.items() if value or key == "ruleName"}
    return {**doc, "location": location_json(warning.location)}


def _source(source: SourceMap) -> dict[str, Any]:
    doc: dict[str, Any] = {"filename": source.filename, "data": base64.b64encode(source.data).decode()}
    doc["definition"] = definition_json(decode_definition(source.definition))
    return {**doc, "language": source.language}


def _text(warnings: list[LintWarning], source: SourceMap) -> str:
    ordered = sorted(warnings, key=lambda w: (w.location[0].start if w.location else -1, "" if w.location else w.rule.name))
    lines = excerpt_lines(source.data) if ordered else []
    parts: list[str] = []
    for warning in ordered:
        url = f" - {warning.rule.url}" if warning.rule.url else ""
        parts.append(f"\nWARNING: {warning.rule.name}{url}\n{warning.message}\n")
        parts.append(excerpt(source.filename, lines, warning.location))
    return "".join(parts)
