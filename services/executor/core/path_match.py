"""Go's path.Match: `*` and `?` stay within one component, `[a-z]`, `[^a-z]` and `\\x` as there (pkg.go.dev/path#Match)."""

import re
from functools import lru_cache


def path_match(pattern: str, path: str) -> bool:
    """True when the whole of `path` matches. Raises ValueError `syntax error in pattern` for a malformed pattern."""
    return compile_path_pattern(pattern).fullmatch(path) is not None


def has_wildcards(text: str) -> bool:
    """True when an unescaped `*`, `?` or `[` is in `text`."""
    escaped = False
    for c in text:
        if escaped:
            escaped = False
        elif c == "\\":
            escaped = True
        elif c in "*?[":
            return True
    return False


@lru_cache(maxsize=1024)
def compile_path_pattern(pattern: str) -> re.Pattern[str]:
    """The regular expression of a pattern. Raises ValueError."""
    out: list[str] = []
    i = 0
    while i < len(pattern):
        c = pattern[i]
        if c == "*":
            if not out or out[-1] != "[^/]*":  # several in a row mean one; a regular expression would backtrack over each
                out.append("[^/]*")
            i += 1
        elif c == "?":
            out.append("[^/]")
            i += 1
        elif c == "[":
            text, i = _char_class(pattern, i + 1)
            out.append(text)
        else:
            char, i = _char(pattern, i)
            out.append(re.escape(char))
    return re.compile("".join(out), re.DOTALL)


def _char(pattern: str, i: int) -> tuple[str, int]:
    if pattern[i] == "\\":
        i += 1
        if i == len(pattern):
            raise _bad(pattern)
    return pattern[i], i + 1


def _char_class(pattern: str, i: int) -> tuple[str, int]:
    negated = pattern[i : i + 1] == "^"
    i += negated
    ranges: list[str] = []
    while not (pattern[i : i + 1] == "]" and ranges):
        low, i = _class_char(pattern, i)
        high = low
        if pattern[i : i + 1] == "-":
            high, i = _class_char(pattern, i + 1)
        ranges.append(f"{re.escape(low)}-{re.escape(high)}" if low <= high else "")
    body = "".join(ranges)
    if not body:  # only empty ranges such as [z-a]
        return ("(?s:.)" if negated else "(?!)"), i + 1
    return f"[{'^' if negated else ''}{body}]", i + 1


def _class_char(pattern: str, i: int) -> tuple[str, int]:
    if i >= len(pattern) or pattern[i] in "-]":
        raise _bad(pattern)
    char, i = _char(pattern, i)
    if i >= len(pattern):
        raise _bad(pattern)
    return char, i


def _bad(pattern: str) -> ValueError:
    return ValueError(f"syntax error in pattern: {pattern[:200]!r}")
