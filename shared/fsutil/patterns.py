"""Patterns of .dockerignore kind with `!` exceptions, the last match decides (moby/patternmatcher).

`*` and `?` stay within one path component, `**` crosses them; a pattern also covers everything below what it matches.
"""

import posixpath
import re
from collections.abc import Sequence
from typing import TypeAlias

MatchInfo: TypeAlias = tuple[bool, ...]
"""Which patterns matched a directory, to be carried to its entries; empty = nothing known about the parents."""

_ESCAPED = frozenset(".+()|{}$")


class Pattern:
    """One cleaned pattern without its `!`."""

    __slots__ = ("_exact", "_prefix", "_regex", "_suffix", "exclusion", "text")

    def __init__(self, text: str, exclusion: bool) -> None:
        self.text = text
        self.exclusion = exclusion
        self._exact: str | None = None
        self._prefix: str | None = None
        self._suffix: str | None = None
        self._regex: re.Pattern[str] | None = None
        regex, kind = _translate(text)
        if kind == "exact":
            self._exact = text
        elif kind == "prefix":
            self._prefix = text[:-2]
        elif kind == "suffix":
            self._suffix = text[2:]
        else:
            self._regex = _compile(text, regex)

    def match(self, path: str) -> bool:
        """Whether `path` itself matches, parents not considered."""
        if self._exact is not None:
            return path == self._exact
        if self._prefix is not None:
            return path.startswith(self._prefix)
        if self._suffix is not None:
            suffix = self._suffix
            return path.endswith(suffix) or (suffix[:1] == "/" and path == suffix[1:])
        assert self._regex is not None
        return self._regex.match(path) is not None


class PatternMatcher:
    """A list of patterns. Raises ValueError for a malformed one."""

    def __init__(self, patterns: Sequence[str]) -> None:
        self.patterns: tuple[Pattern, ...] = tuple(p for p in map(_parse, patterns) if p is not None)
        self.has_exclusions = any(p.exclusion for p in self.patterns)

    def matches(self, path: str) -> bool:
        """Whether `path` or one of its parents matches, and no later exception does (MatchesOrParentMatches)."""
        return self.match_with_parent(path, ())[0]

    def match_with_parent(self, path: str, parent: MatchInfo) -> tuple[bool, MatchInfo]:
        """The same, reusing what the parent directory matched; with the info for entries below `path` (MatchesUsingParentResults).

        With an empty `parent` the parents of `path` are tried one by one. Raises ValueError when `parent` is of another matcher.
        """
        if parent and len(parent) != len(self.patterns):
            raise ValueError("wrong number of parent match results")
        matched = False
        info: list[bool] = []
        for i, pattern in enumerate(self.patterns):
            hit = bool(parent) and parent[i]
            if not hit and pattern.exclusion == matched:
                hit = pattern.match(path) or (not parent and any(map(pattern.match, _parents(path))))
            info.append(hit)
            if hit:
                matched = not pattern.exclusion
        return matched, tuple(info)


def _parents(path: str) -> list[str]:
    parts = path.split("/")[:-1]
    return ["/".join(parts[: i + 1]) for i in range(len(parts))]


def _parse(raw: str) -> Pattern | None:
    text = raw.strip()
    if not text:
        return None
    text = _clean(text)
    exclusion = text.startswith("!")
    if exclusion:
        text = text[1:]
        if not text:
            raise ValueError('illegal exclusion pattern: "!"')
    return Pattern(text, exclusion)


def _clean(path: str) -> str:
    cleaned = posixpath.normpath(path)
    return cleaned[1:] if cleaned.startswith("//") else cleaned


def _compile(text: str, regex: str) -> re.Pattern[str]:
    try:
        return re.compile(regex, re.DOTALL)
    except re.error as e:
        raise ValueError(f"syntax error in pattern: {text[:200]!r} ({e})") from None


def _translate(text: str) -> tuple[str, str]:
    """The regular expression, and which cheap comparison would do instead: exact, prefix (`x/**`), suffix (`**/x`) or regex."""
    out, kind, i, first = ["^"], "exact", 0, True
    while i < len(text):
        c = text[i]
        i += 1
        if c == "*" and text[i : i + 1] == "*":
            i += 1
            i += text[i : i + 1] == "/"
            at_end = i == len(text)
            kind = "prefix" if at_end and kind == "exact" else _any(out, ".*" if at_end else "(.*/)?")
            if first:
                kind = "suffix"
        elif c in "*?":
            kind = _any(out, "[^/]*" if c == "*" else "[^/]")
        elif c == "[":
            part, i = _char_class(text, i)
            kind = _any(out, part)
        elif c == "\\":
            kind = _any(out, re.escape(text[i : i + 1]) or "\\\\") if i < len(text) else kind
            i += 1
        else:
            out.append("\\" + c if c in _ESCAPED else re.escape(c))
        first = False
    return "".join(out) + r"\Z", kind


def _any(out: list[str], part: str) -> str:
    out.append(part)
    return "regex"


def _char_class(text: str, i: int) -> tuple[str, int]:
    """A `[…]` class after its bracket. Raises ValueError when it is not closed, empty, or ends in a lone `-` or backslash (path.Match)."""
    bad = ValueError(f"syntax error in pattern: {text[:200]!r}")
    start = i
    i += text[i : i + 1] == "^"
    count = 0
    while not (text[i : i + 1] == "]" and count):
        for _ in range(2):
            if i >= len(text) or text[i] in "-]":
                raise bad
            i += 2 if text[i] == "\\" else 1
            if i >= len(text):
                raise bad
            if text[i] != "-":
                break
            i += 1
        count += 1
    return "[" + text[start:i].replace("[", "\\[") + "]", i + 1
