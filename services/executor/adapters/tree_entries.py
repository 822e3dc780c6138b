"""Trees as the client is to see them: entries with prefix and time set, several trees in one list (exporter/local/*.go)."""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from shared.errors import BuildFailed
from shared.fsutil.mode import DIR, is_regular
from shared.fsutil.order import byte_key
from shared.fsutil.packets import Stat
from shared.session.tree_reader import open_file, walk

_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTree:
    """A mounted tree. `root` "" = scratch; `prefix` is the sub directory it appears in; `label` names it in errors.

    `epoch` ≥ 0 (s) is every mtime.
    """

    root: str
    prefix: str = ""
    label: str = ""
    epoch: int = -1

    def entries(self) -> Iterator[Stat]:
        """In the protocol's order, the prefix directory first."""
        if self.prefix:
            mtime = self.epoch * _NS if self.epoch >= 0 else 0
            yield Stat(path=self.prefix, mode=DIR | 0o755, mtime=mtime)
        if not self.root:
            return
        for stat in walk(self.root):
            if self.prefix:
                link = f"{self.prefix}/{stat.linkname}" if stat.linkname and is_regular(stat.mode) else stat.linkname
                stat = stat._replace(path=f"{self.prefix}/{stat.path}", linkname=link)
            yield stat if self.epoch < 0 else stat._replace(mtime=self.epoch * _NS)

    def open(self, path: str) -> int | None:
        """A descriptor, None when the file is not one of this tree's or can't be opened."""
        if not self.root:
            return None
        if self.prefix:
            inside = path.removeprefix(self.prefix + "/")
            return None if inside == path else open_file(self.root, inside)
        return open_file(self.root, path)


def merged(trees: Sequence[ShownTree]) -> Iterator[Stat]:
    """One list of all trees. A directory in several is shown once; raises BuildFailed for any other path that two trees have."""
    if len(trees) == 1:
        yield from trees[0].entries()
        return
    lists = [_keyed(tree, index) for index, tree in enumerate(trees)]
    last: tuple[Stat, int] | None = None
    for _, index, stat in heapq.merge(*lists, key=lambda item: item[:2]):
        if last is not None and last[0].path == stat.path:
            if last[0].mode & stat.mode & DIR:
                continue
            raise BuildFailed(
                f"cannot overwrite {stat.path} from {trees[last[1]].label} with {trees[index].label} when split option is disabled"
            )
        last = (stat, index)
        yield stat


def _keyed(tree: ShownTree, index: int) -> Iterator[tuple[bytes, int, Stat]]:
    return ((byte_key(stat.path), index, stat) for stat in tree.entries())


def open_in(trees: Sequence[ShownTree], path: str) -> int | None:
    """A descriptor from the tree that has the path."""
    for tree in trees:
        descriptor = tree.open(path)
        if descriptor is not None:
            return descriptor
    return None
