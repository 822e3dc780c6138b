"""Checksums of selections: a path, a wildcard, or a directory with include and exclude patterns (BuildKit checksum.go includedPaths)."""

import hashlib
import os
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from services.executor.adapters.content_hash_record import EMPTY_DIGEST
from services.executor.adapters.content_hash_tree import Kind, Node, Tree, clean, walk
from services.executor.core.path_match import compile_path_pattern, has_wildcards
from services.executor.core.selection import Selection
from shared.errors import InvalidInput, NotFound
from shared.fsutil import PatternMatcher

MatchInfo: TypeAlias = tuple[bool, ...]


@dataclass(slots=True)
class _Found:
    """An entry that may belong to the selection; `path` as the selection spells it, `at` where it really is."""

    path: str
    at: str
    node: Node
    follow: bool
    include: MatchInfo = ()
    exclude: MatchInfo = ()
    taken: bool = False


def checksum(tree: Tree, selection: Selection) -> str:
    """The digest of one selection; an empty selection has the digest of nothing.

    Raises NotFound `"<path>": not found`, InvalidInput for malformed patterns and symlink loops.
    """
    try:
        if not selection.filtered:
            return _path_checksum(tree, clean(selection.path), selection.follow_links)
        prefix, found = _select(tree, selection)
    except ValueError as e:
        raise InvalidInput(str(e)) from None
    _check_required(selection, found)
    if not found:
        return EMPTY_DIGEST
    digests = [_found_digest(tree, f) for f in found]
    if len(found) == 1 and posixpath.basename(clean(selection.path)) == posixpath.basename(found[0].path):
        return digests[0]
    h = hashlib.sha256()
    for f, digest in zip(found, digests, strict=True):
        key = os.fsencode(f.path.removeprefix(prefix)).replace(b"/", b"\0") or b"\0"
        h.update(key + digest.encode())
    return "sha256:" + h.hexdigest()


def join_digests(digests: list[str]) -> str:
    """The content digest of an input = sha256 over its selections' checksums, joined by NUL (ops/opsutils/contenthash.go)."""
    return "sha256:" + hashlib.sha256(b"\0".join(d.encode() for d in digests)).hexdigest()


def _path_checksum(tree: Tree, path: str, follow: bool) -> str:
    at, node = tree.resolve(path, follow)
    if node is None:
        raise NotFound(f'"{path or "/"}": not found')
    return tree.digest(at, node)


def _found_digest(tree: Tree, found: _Found) -> str:
    if found.follow and found.node.kind is Kind.SYMLINK:
        return _path_checksum(tree, found.path, True)
    return tree.header(found.at, found.node)


def _check_required(selection: Selection, found: list[_Found]) -> None:
    for required in selection.required_paths:
        if not any(f.path.startswith(required) for f in found):
            raise NotFound(f'"{required}": not found')


def _select(tree: Tree, selection: Selection) -> tuple[str, list[_Found]]:
    """The prefix that names are taken relative to, and the selected entries in hash order."""
    path = clean(selection.path)
    prefix, start, node = _start(tree, path, selection.wildcard)
    if node is None:
        return prefix, []
    return prefix, list(_Selector(tree, selection, path).run(prefix, start, node))


def _start(tree: Tree, path: str, wildcard: bool) -> tuple[str, str, Node | None]:
    if not wildcard:
        at, node = tree.resolve(path, False)
        return path, at, node
    fixed, rest = split_wildcards(path)
    if fixed == "":
        return "", "", tree.node
    at, node = tree.resolve(fixed, bool(rest))
    return fixed, at, node


def split_wildcards(path: str) -> tuple[str, str]:
    """The part before the first component with a wildcard (`""` = the root), and the rest."""
    parts = path.split("/")
    n = next((i for i, p in enumerate(parts) if has_wildcards(p)), len(parts))
    return "/".join(parts[:n]), "/".join(parts[n:])


class Matcher(Protocol):
    """Patterns as in .dockerignore, with what the parent directory matched carried along."""

    def match_with_parent(self, path: str, parent: MatchInfo) -> tuple[bool, MatchInfo]: ...


class _Selector:
    def __init__(self, tree: Tree, selection: Selection, path: str) -> None:
        self._tree = tree
        self._path = path
        self._wildcard = selection.wildcard
        self._follow = selection.follow_links
        self._pattern = compile_path_pattern(path) if selection.wildcard and path else None
        self._prunable = "[" not in path
        self._depth = path.count("/")
        self._skip_root_header = selection.path.endswith("/")
        self._include: Matcher | None = PatternMatcher(selection.include_patterns) if selection.include_patterns else None
        self._exclude: Matcher | None = PatternMatcher(selection.exclude_patterns) if selection.exclude_patterns else None
        self._matched = ""  # the entry that the wildcard matched last; all below it belongs to it

    def run(self, prefix: str, start: str, node: Node) -> Iterator[_Found]:
        parents: list[_Found] = []
        for at, n in walk(self._tree, start, node, lambda p: self._enter(prefix + p[len(start) :])):
            name = prefix + at[len(start) :]
            while parents and not name.startswith(parents[-1].path + "/"):
                parents.pop()
            if n.kind is Kind.DIR and name == self._path and self._skip_root_header:
                continue
            found = self._consider(name, at, n, parents[-1] if parents else None)
            if found is None:
                continue
            if found.taken:
                for parent in parents:
                    if not parent.taken:
                        parent.taken = True
                        yield parent
                yield found
            if n.kind is Kind.DIR:
                parents.append(found)

    def _enter(self, name: str) -> bool:
        """Whether anything below the directory `name` can be selected; a wildcard never reaches deeper than it has components."""
        if self._pattern is None or (self._matched and (name == self._matched or name.startswith(self._matched + "/"))):
            return True
        return not self._prunable or name.count("/") < self._depth

    def _consider(self, name: str, at: str, node: Node, parent: _Found | None) -> _Found | None:
        base = self._path
        if self._wildcard:
            if self._pattern is not None and not (self._matched and name.startswith(self._matched + "/")):
                if self._pattern.fullmatch(name) is None:
                    return None
                self._matched = name
            base = self._matched
        candidate = f"{name}/".removeprefix(f"{base}/").removesuffix("/")
        found = _Found(path=name, at=at, node=node, follow=parent is None and self._follow)
        found.taken = self._included(candidate, found, parent)
        return found if found.taken or node.kind is Kind.DIR else None

    def _included(self, candidate: str, found: _Found, parent: _Found | None) -> bool:
        if self._include is not None:
            matched, found.include = self._include.match_with_parent(candidate, parent.include if parent else ())
            if not matched:
                return False
        if self._exclude is not None:
            matched, found.exclude = self._exclude.match_with_parent(candidate, parent.exclude if parent else ())
            if matched:
                return False
        return True
