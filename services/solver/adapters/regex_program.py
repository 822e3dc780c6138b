"""`python -m services.solver.adapters.regex_program`: answers one regular expression of a policy, in a process that can be killed.

stdin and stdout: JSON of RegexQuestion and RegexReply, or {"error": text}.
"""

import json
import re
import sys

from services.solver.core.source_policy import expand


def answer(question: dict[str, str | None]) -> dict[str, object]:
    """See RegexQuestion."""
    try:
        pattern = re.compile(question["pattern"] or "")
    except (re.error, RecursionError, OverflowError) as error:
        return {"error": f'invalid regex "{question["pattern"]}": {error}'}
    text, template = question["text"] or "", question["template"]
    replaced = "" if template is None else pattern.sub(lambda found: expand(template, lambda name: _group(found, name)), text)
    return {"found": pattern.search(text) is not None, "replaced": replaced}


def _group(found: re.Match[str], name: str) -> str:
    try:
        return found[int(name) if name.isdigit() else name] or ""
    except (IndexError, re.error):
        return ""


if __name__ == "__main__":
    json.dump(answer(json.load(sys.stdin)), sys.stdout)
