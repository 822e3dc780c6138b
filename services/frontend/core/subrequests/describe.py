"""Which questions there are (frontend/subrequests/describe.go). Lint and convertllb are answered, but not listed."""

from typing import Any

from services.frontend.core.subrequests.tables import table
from shared.oci import go_json_indent

_VERSION = "1.0.0"
_RESULTS = [{"name": "result.json", "description": ""}, {"name": "result.txt", "description": ""}]


def _question(name: str, description: str, opts: list[dict[str, str]] | None) -> dict[str, Any]:
    return {
        "name": name,
        "version": _VERSION,
        "type": "rpc",
        "description": description,
        "opts": opts,
        "inputs": None,
        "metadata": _RESULTS,
        "refs": None,
    }


QUESTIONS = (
    _question(
        "frontend.outline",
        "List all parameters current build target supports",
        [{"name": "target", "description": "Target build stage"}],
    ),
    _question("frontend.targets", "List all targets current build supports", []),
    _question("frontend.subrequests.describe", "List available subrequest types", None),
)


def answer_describe() -> dict[str, bytes]:
    rows = [f"{q['name'].removeprefix('frontend.')}\t{q['version']}\t{q['description']}\n" for q in QUESTIONS]
    text = table("NAME\tVERSION\tDESCRIPTION\n" + "".join(rows), 1)
    return {"result.json": go_json_indent(list(QUESTIONS)), "result.txt": text.encode(), "version": _VERSION.encode()}
