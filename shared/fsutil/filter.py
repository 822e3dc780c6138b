"""Which entries of a folder are sent: patterns, and paths whose symlinks are followed (fsutil filter.go, followlinks.go)."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Sequence

from shared.fsutil.packets import Stat
from shared.fsutil.patterns import MatchInfo, Pattern, PatternMatcher

_WILD = frozenset("*[]?^\\")


class PathFilter:
    """Asked by a walk about each path in turn (`visit`), then filters what the walk yields (`select`).

    A directory that doesn't match itself is sent just before the first entry below it that does. Raises ValueError for a bad pattern.
    """

    def __init__(self, *, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        self._include = PatternMatcher(include) if include else None
        self._exclude = PatternMatcher(exclude) if exclude else None
        self._include_prefixes = _prefixes(self._include, exceptions=False)
        self._exclude_prefixes = _prefixes(self._exclude, exceptions=True)
        self._parents: list[tuple[str, MatchInfo, MatchInfo]] = []
        self._wanted = True

    def visit(self, path: str, is_dir: bool) -> bool:
        """False: neither this entry nor anything below it is sent."""
        while self._parents and not path.startswith(self._parents[-1][0]):
            self._parents.pop()
        above = self._parents[-1] if self._parents else ("", (), ())
        keep = True
        include_info: MatchInfo = ()
        exclude_info: MatchInfo = ()
        below = path + "/"
        if self._include is not None:
            hit, include_info = self._include.match_with_parent(path, above[1])
            if not hit:
                keep = False
                if not is_dir or not _reaches(self._include_prefixes, below):
                    return False
        if self._exclude is not None:
            hit, exclude_info = self._exclude.match_with_parent(path, above[2])
            if hit:
                keep = False
                if not is_dir or not _reaches(self._exclude_prefixes, below):
                    return False
        if is_dir:
            self._parents.append((below, include_info, exclude_info))
        self._wanted = keep
        return True

    def select(self, stats: Iterable[Stat]) -> Iterator[Stat]:
        """From a walk that calls `visit` right before it yields the same path."""
        waiting: list[Stat] = []
        for stat in stats:
            while waiting and not stat.path.startswith(waiting[-1].path + "/"):
                waiting.pop()
            if self._wanted:
                yield from waiting
                waiting.clear()
                yield stat
            elif stat.is_dir:
                waiting.append(stat)


def _prefixes(matcher: PatternMatcher | None, *, exceptions: bool) -> tuple[str, ...] | None:
    """Literal paths below which this matcher's patterns (or its exceptions) can match; None = anywhere."""
    if matcher is None:
        return ()
    found = []
    for pattern in matcher.patterns:
        if pattern.exclusion is not exceptions:
            continue
        text = pattern.text.removesuffix("/**").removesuffix("/*")
        if _WILD.intersection(text):
            return None
        found.append(text + "/")
    return tuple(found)


def _reaches(prefixes: tuple[str, ...] | None, directory: str) -> bool:
    """Whether something below `directory` (with its slash) may match."""
    return prefixes is None or any(prefix.startswith(directory) for prefix in prefixes)


ReadLink = Callable[[str], str | None]
"""Path → text of the symlink there, or None for anything else."""
ListNames = Callable[[str], Sequence[str]]
"""Directory ("" = the root) → names in it; empty when it is none."""


def follow_links(paths: Iterable[str], read_link: ReadLink, list_names: ListNames) -> list[str] | None:
    """Include patterns for `paths` and whatever their symlinks lead to, inside of the root; wildcards per component.

    None: a path is the root itself, so that nothing is filtered.
    """
    resolver = _LinkResolver(read_link, list_names)
    for path in paths:
        resolver.add(path)
    return without_covered(sorted(resolver.resolved))


def without_covered(paths: Iterable[str]) -> list[str] | None:
    """A sorted list without what lies below another entry; None if the root is in it."""
    out: list[str] = []
    for path in paths:
        if path == ".":
            return None
        if not out or not path.startswith(out[-1] + "/"):
            out.append(path)
    return out


class _LinkResolver:
    def __init__(self, read_link: ReadLink, list_names: ListNames) -> None:
        self.resolved: set[str] = set()
        self._read_link = read_link
        self._list_names = list_names

    def add(self, path: str) -> None:
        """Component by component; a symlink on the way is kept and its target followed with the rest of the path."""
        todo = [path]
        while todo:
            rest = posixpath.normpath("/" + todo.pop()).lstrip("/") or "."
            current = ""
            while True:
                part, _, rest = rest.partition("/")
                current = posixpath.join(current, part) if current else part
                targets = self._targets(current)
                if (targets or not rest) and current in self.resolved:
                    break
                if targets:
                    self.resolved.add(current)
                    todo += [posixpath.join(target, rest) if rest else target for target in targets]
                    break
                if not rest:
                    self.resolved.add(current)
                    break

    def _targets(self, path: str) -> list[str]:
        parent, name = posixpath.split(path)
        if not _has_wildcard(name):
            target = self._target(path)
            return [] if target is None else [target]
        pattern = Pattern(name, False)
        found = [self._target(posixpath.join(parent, n)) for n in self._list_names(parent) if pattern.match(n)]
        return [target for target in found if target is not None]

    def _target(self, path: str) -> str | None:
        link = None if path in ("", ".") else self._read_link(path)
        if link is None:
            return None
        return link if link.startswith("/") else posixpath.join("/", posixpath.dirname(path), link)


def _has_wildcard(name: str) -> bool:
    skip = False
    for character in name:
        if skip:
            skip = False
        elif character == "\\":
            skip = True
        elif character in "*?[":
            return True
    return False
