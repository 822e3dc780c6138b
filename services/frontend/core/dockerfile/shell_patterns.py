"""Glob patterns of ${v#p}, ${v%p} and ${v/p/r} (shell/lex.go convertShellPatternToRegex).

`*` and `?` are wild (neither crosses a line end), a backslash makes `*`, `?` and itself literal.
Patterns become regular expressions with atomic groups, so that no pattern makes matching backtrack.
"""

import re
from functools import lru_cache

from services.frontend.core.failure import DockerfileError

MAX_RESULT = 16 << 20
"""Characters that one replacement may put in."""

Token = tuple[str, bool]  # character, is wild


def trim_prefix(pattern: str, value: str, *, greedy: bool) -> str:
    """`value` without the shortest (greedy: longest) beginning that matches."""
    match = _compiled(_tokens(pattern, pattern), greedy, True).match(value)
    return value[match.end() :] if match else value


def trim_suffix(pattern: str, value: str, *, greedy: bool) -> str:
    """`value` without the shortest (greedy: longest) end that matches."""
    tokens = _tokens(_reversed(pattern), _reversed(pattern))
    match = _compiled(tokens, greedy, True).match(value[::-1])
    return value[: len(value) - match.end()] if match else value


def replace_pattern(pattern: str, replacement: str, value: str, *, replace_all: bool) -> str:
    """The first (or every) longest match replaced; with replace_all `$0` in the replacement is the match, as in Go's regexp."""
    regex = _compiled(_tokens(pattern, pattern), True, False)
    if not replace_all:
        match = regex.search(value)
        return value[: match.start()] + replacement + value[match.end() :] if match else value
    out: list[str] = []
    last = size = 0
    previous_end = -1
    for match in regex.finditer(value):
        if match.end() == match.start() == previous_end:
            continue  # an empty match right behind another does not count
        out += (value[last : match.start()], _expand(replacement, match[0]))
        size += len(out[-1])
        if size > MAX_RESULT:
            raise DockerfileError("variables expand to too much text")
        last = previous_end = match.end()
    return "".join(out) + value[last:]


_TEMPLATE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")


def _expand(template: str, whole: str) -> str:
    """Regexp.Expand with no groups: `$$` is a dollar, `$0` the match, any other name nothing."""

    def one(match: re.Match[str]) -> str:
        return "$" if match[1] else (whole if (match[2] or match[3]) == "0" else "")

    return _TEMPLATE.sub(one, template)


def _tokens(pattern: str, shown: str) -> tuple[Token, ...]:
    out: list[Token] = []
    chars = iter(range(len(pattern)))
    for i in chars:
        ch = pattern[i]
        if ch in "*?":
            out.append((ch, True))
        elif ch != "\\":
            out.append((ch, False))
        elif pattern[i + 1 : i + 2] in ("}", "/"):
            continue  # escaped for the sake of ${…} only
        elif pattern[i + 1 : i + 2] in ("*", "?", "\\") and i + 1 < len(pattern):
            next(chars)
            out.append((pattern[i + 1], False))
        else:
            escaped = pattern[i + 1 : i + 2] or "\ufffd"
            raise DockerfileError(f"invalid pattern ({shown}) in substitution: invalid escape '\\{escaped}'")
    return tuple(out)


@lru_cache(maxsize=256)
def _compiled(tokens: tuple[Token, ...], greedy: bool, anchored: bool) -> re.Pattern[str]:
    """Segments between stars: each as early as possible, but for a greedy match the last one as late as possible."""
    segments: list[str] = [""]
    for ch, wild in tokens:
        if wild and ch == "*":
            segments.append("")
        else:
            segments[-1] += "." if wild else re.escape(ch)
    parts = [segments[0]]
    for n, segment in enumerate(segments[1:], 2):
        last = n == len(segments)
        parts.append(f"(?>{'.*' if greedy and last else '.*?'}{segment})")
    return re.compile("".join(parts))


def _reversed(pattern: str) -> str:
    """The pattern backwards, escapes kept before what they escape."""
    out: list[str] = []
    i = 0
    while i < len(pattern):
        width = 2 if pattern[i] == "\\" and i + 1 < len(pattern) else 1
        out.append(pattern[i : i + width])
        i += width
    return "".join(reversed(out))
