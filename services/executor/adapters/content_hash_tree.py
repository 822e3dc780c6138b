"""The checksum tree of a snapshot: a node per path, each digest computed when first asked for (BuildKit cache/contenthash/checksum.go).

Where BuildKit scans whole subtrees first, here a directory is listed when a lookup enters it; the digests are the same.
Paths are `""` for the root and `/a/b` otherwise, text as os.fsdecode gives it; order is that of bytes, with `/` lowest.
"""

import hashlib
import os
import posixpath
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from enum import IntEnum

from services.executor.adapters.content_hash_record import EMPTY_DIGEST, digest_file

MAX_LINKS = 255
_LARGE = 256 << 10


class Kind(IntEnum):
    """What a node stands for. FILE covers everything that is neither directory nor symlink."""

    FILE = 0
    DIR = 1
    SYMLINK = 2


class Node:
    """One path. `digest` is that of the file, or of the whole directory; empty = not computed.

    `header` is the digest of a directory's own metadata; `children` is None until the directory was listed.
    """

    __slots__ = ("children", "digest", "header", "kind", "link")

    def __init__(self, kind: Kind, *, digest: str = "", header: str = "", link: str = "", listed: bool = False) -> None:
        self.kind = kind
        self.digest = digest
        self.header = header
        self.link = link
        self.children: dict[str, Node] | None = {} if listed else None


Root = Callable[[], str]


class Tree:
    """Nodes plus the directory they describe. `root` returns its absolute path, and is called only when the disk is needed.

    Not thread-safe. Digests that came from the disk set `dirty`.
    """

    def __init__(self, node: Node, root: Root) -> None:
        self.node = node
        self.root = root
        self.dirty = False

    def lookup(self, path: str) -> Node | None:
        """The node at a path without symlinks in it, or None."""
        node, at = self.node, ""
        for name in path.split("/")[1:]:
            if node.kind is not Kind.DIR:
                return None
            child = self.children(node, at).get(name)
            if child is None:
                return None
            node, at = child, f"{at}/{name}"
        return node

    def children(self, node: Node, path: str) -> dict[str, Node]:
        """The entries of a directory, listed from the disk the first time."""
        if node.children is None:
            node.children = self._list(path)
            self.dirty = True
        return node.children

    def sorted_names(self, node: Node, path: str) -> list[str]:
        """Entry names in the order in which they are hashed."""
        names = self.children(node, path)
        return sorted(names) if all(map(str.isascii, names)) else sorted(names, key=os.fsencode)

    def resolve(self, path: str, follow_last: bool) -> tuple[str, Node | None]:
        """Where `path` leads inside the tree; links never lead out of it, `..` stops at the root, missing parts stay as they are.

        Raises ValueError `too many links`.
        """
        node = self.lookup(path)
        if node is not None and not (follow_last and node.kind is Kind.SYMLINK):
            return path, node
        current, rest, walked = "/", path, 0
        while rest:
            part, _, rest = rest.partition("/")
            step = clean(posixpath.join(current or "/", part))
            node = self.lookup(step)
            if node is None or node.kind is not Kind.SYMLINK:
                current = step
                continue
            if not follow_last and not rest:
                return step, node
            walked += 1
            if walked > MAX_LINKS:
                raise ValueError(f"too many links: {path!r:.300}")
            rest = f"{node.link}/{rest}"
            if node.link.startswith("/"):
                current = "/"
        current = clean(current)
        return current, self.lookup(current)

    def digest(self, path: str, node: Node) -> str:
        """The digest of a node, of a directory with all that is in it."""
        if node.kind is not Kind.DIR:
            return self._own_digest(path, node)
        if not node.digest:
            directories = self._unhashed_directories(path, node)
            self._hash_large_files(directories)
            for p, n in directories:
                n.digest = self._directory_digest(p, n)
                self.dirty = True
        return node.digest

    def header(self, path: str, node: Node) -> str:
        """The digest of a directory's own metadata; of anything else, the node's digest."""
        if node.kind is not Kind.DIR:
            return self._own_digest(path, node)
        if not node.header:
            node.header = self._disk_digest(path)
        return node.header

    def mark_changed(self, path: str) -> None:
        """An entry was made, written anew, or got other metadata; `path` as elsewhere. Nothing is read but the entry's own lstat."""
        parent, name = self._known_parent(path)
        if parent is None:
            return
        st = os.lstat(full := self.root() + path)
        kind = kind_of_mode(st.st_mode)
        old = parent.get(name)
        node = Node(kind, link=os.readlink(full) if kind is Kind.SYMLINK else "")
        if kind is Kind.DIR and old is not None and old.kind is Kind.DIR:
            node.children = old.children
        parent[name] = node

    def mark_removed(self, path: str) -> None:
        """An entry is gone, with all below it."""
        parent, name = self._known_parent(path)
        if parent is not None:
            parent.pop(name, None)

    def _known_parent(self, path: str) -> "tuple[dict[str, Node] | None, str]":
        """The listed directory that holds `path`, None where nothing is remembered; the digests above are forgotten."""
        self.dirty = True
        node = self.node
        *directories, name = path.split("/")[1:]
        for part in directories:
            node.digest = ""
            child = (node.children or {}).get(part)
            if child is None or child.kind is not Kind.DIR:
                return None, name
            node = child
        node.digest = ""
        return node.children, name

    def _own_digest(self, path: str, node: Node) -> str:
        if not node.digest:
            node.digest = self._disk_digest(path)
        return node.digest

    def _unhashed_directories(self, path: str, node: Node) -> list[tuple[str, Node]]:
        """Directories below and including `node` without a digest, children before parents. Not recursive: trees may be very deep."""
        found, stack = [], [(path, node)]
        while stack:
            p, n = stack.pop()
            found.append((p, n))
            stack += [(f"{p}/{name}", c) for name, c in self.children(n, p).items() if c.kind is Kind.DIR and not c.digest]
        found.reverse()
        return found

    def _hash_large_files(self, directories: list[tuple[str, Node]]) -> None:
        """Those worth a thread are hashed side by side (OpenSSL lets go of the interpreter lock); the small ones are left to the caller."""
        large: list[tuple[str, Node, os.stat_result]] = []
        for path, node in directories:
            for name, child in self.children(node, path).items():
                if child.kind is Kind.FILE and not child.digest:
                    st = os.lstat(full := f"{self.root()}{path}/{name}")
                    if stat.S_ISREG(st.st_mode) and st.st_size >= _LARGE:
                        large.append((full, child, st))
        if len(large) < 2:
            return
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 8), "content-hash") as pool:
            for (_, child, _), digest in zip(large, pool.map(lambda item: digest_file(item[0], item[2]), large), strict=True):
                child.digest = digest

    def _directory_digest(self, path: str, node: Node) -> str:
        h = hashlib.sha256(b"\0" + self.header(path, node).encode())
        children = self.children(node, path)
        for name in self.sorted_names(node, path):
            child = children[name]
            h.update(b"\0" + os.fsencode(name) + (child.digest or self._own_digest(f"{path}/{name}", child)).encode())
        return "sha256:" + h.hexdigest()

    def _disk_digest(self, path: str) -> str:
        full = self.root() + path
        self.dirty = True
        return digest_file(full, os.lstat(full))

    def _list(self, path: str) -> dict[str, Node]:
        with os.scandir(self.root() + path) as entries:
            return {e.name: _node_of(e) for e in entries}


def _node_of(entry: os.DirEntry[str]) -> Node:
    if entry.is_symlink():
        return Node(Kind.SYMLINK, link=os.readlink(entry.path))
    return Node(Kind.DIR if entry.is_dir(follow_symlinks=False) else Kind.FILE)


def scanned_tree(root: Root) -> Tree:
    """An empty tree over a directory, to be filled by looking."""
    return Tree(Node(Kind.DIR), root)


def received_tree(root: Root) -> Tree:
    """A tree for a directory that is kept up to date with a client's (local sources). Its root has no metadata, as in BuildKit."""
    return Tree(Node(Kind.DIR, header=EMPTY_DIGEST), root)


def clean(path: str) -> str:
    """Absolute, lexically cleaned; the root is the empty string."""
    text = posixpath.normpath("/" + path.lstrip("/"))
    return "" if text == "/" else text


def walk(tree: Tree, path: str, node: Node, enter: Callable[[str], bool]) -> Iterator[tuple[str, Node]]:
    """`node` and what is below it, each directory before its entries; directories that `enter` declines are yielded, not entered."""
    stack = [(path, node)]
    while stack:
        p, n = stack.pop()
        yield p, n
        if n.kind is Kind.DIR and enter(p):
            names = tree.sorted_names(n, p)
            children = tree.children(n, p)
            stack += [(f"{p}/{name}", children[name]) for name in reversed(names)]


def kind_of_mode(mode: int) -> Kind:
    """From st_mode."""
    if stat.S_ISDIR(mode):
        return Kind.DIR
    return Kind.SYMLINK if stat.S_ISLNK(mode) else Kind.FILE
