"""A checksum tree as bytes: msgpack of one flat list, depth first, so that no depth of directories is too deep."""

import msgpack

from services.executor.adapters.content_hash_tree import Kind, Node, Root, Tree

_VERSION = 1


def dump_tree(tree: Tree) -> bytes:
    """All nodes with their digests. A record is [depth, name, kind, digest, header or link, listed]."""
    records: list[object] = []
    stack: list[tuple[int, str, Node]] = [(0, "", tree.node)]
    while stack:
        depth, name, node = stack.pop()
        extra = node.link if node.kind is Kind.SYMLINK else node.header
        records.append((depth, _name(name), int(node.kind), _pack(node.digest), _name(extra), node.children is not None))
        stack += [(depth + 1, n, c) for n, c in (node.children or {}).items()]
    return bytes(msgpack.packb((_VERSION, records), use_bin_type=True))


def load_tree(data: bytes, root: Root) -> Tree:
    """The reverse. Raises ValueError for anything that dump_tree did not write."""
    try:
        version, records = msgpack.unpackb(data, raw=False, strict_map_key=False)
        if version != _VERSION:
            raise ValueError(f"checksum tree of version {version}")
        return Tree(_rebuild(records), root)
    except (ValueError, TypeError, KeyError, IndexError, AssertionError, msgpack.UnpackException) as e:
        raise ValueError(f"not a checksum tree: {e}") from None


def _rebuild(records: list[tuple[int, bytes, int, bytes, bytes, bool]]) -> Node:
    path: list[Node] = []
    for depth, name, kind, digest, extra, listed in records:
        node = _node(Kind(kind), digest, extra, listed)
        del path[depth:]
        if path:
            children = path[-1].children
            assert children is not None
            children[name.decode("utf-8", "surrogateescape")] = node
        path.append(node)
    return path[0]


def _node(kind: Kind, digest: bytes, extra: bytes, listed: bool) -> Node:
    text = extra.decode("utf-8", "surrogateescape")
    if kind is Kind.SYMLINK:
        return Node(kind, digest=_unpack(digest), link=text)
    return Node(kind, digest=_unpack(digest), header=text, listed=listed)


def _name(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _pack(digest: str) -> bytes:
    return bytes.fromhex(digest.removeprefix("sha256:"))


def _unpack(digest: bytes) -> str:
    return "sha256:" + digest.hex() if digest else ""
