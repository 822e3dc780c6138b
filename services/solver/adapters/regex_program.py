"""`python -m services.solver.adapters.regex_program`: answers one regular expression of a policy, in a process that can be killed.

stdin and stdout: JSON of RegexQuestion and RegexReply, or {"error": text}.
"""

import json
import re
import resource
import sys

from services.solver.core.source_policy import MAX_REPLACED, check_room, expand
from shared.errors import BuildFailed

MEMORY = 512 << 20


def answer(question: dict[str, str | None]) -> dict[str, object]:
    """See RegexQuestion."""
    try:
        pattern = re.compile(question["pattern"] or "")
    except (re.error, RecursionError, OverflowError) as error:
        return {"error": f'invalid regex "{question["pattern"]}": {error}'}
    text, template = question["text"] or "", question["template"]
    try:
        replaced = "" if template is None else _replaced(pattern, text, template)
    except BuildFailed as error:
        return {"error": error.message}
    return {"found": pattern.search(text) is not None, "replaced": replaced}


def _replaced(pattern: re.Pattern[str], text: str, template: str) -> str:
    left = MAX_REPLACED

    def one(found: re.Match[str]) -> str:
        nonlocal left
        part = expand(template, lambda name: _group(found, name))
        left -= len(part)
        check_room(left)
        return part

    return pattern.sub(one, text)


def _group(found: re.Match[str], name: str) -> str:
    try:
        return found[int(name) if name.isdigit() else name] or ""
    except (IndexError, ValueError, re.error):
        return ""


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    json.dump(answer(json.load(sys.stdin)), sys.stdout)
